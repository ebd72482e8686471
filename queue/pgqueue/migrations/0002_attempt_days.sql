-- Attempts in a partition a day (UTC), by when they ended: an old day is dropped, not deleted row by row. The gateways make and drop
-- them; attempt_rest takes what has none, so that a partition that is missing stops nobody.

alter table attempt rename to attempt_before;
alter table attempt_before drop constraint attempt_pkey;
drop index attempt_ended;

create table attempt (
  item    bigint not null,
  epoch   bigint not null,
  node    text   not null,
  owner   text   not null,
  began   bigint not null,
  ended   bigint not null,
  outcome text   not null,               -- done, kept, trash, unknown, purged
  class   text   not null,
  primary key (item, epoch, ended)
) partition by range (ended);
create table attempt_rest partition of attempt default;
create index attempt_rest_ended on attempt_rest (ended);

-- What was noted so far becomes today's partition, with all the past.
do $$
declare
  today bigint := extract(epoch from now())::bigint / 86400;
begin
  if exists (select 1 from attempt_before) then
    execute format('alter table attempt_before rename to attempt_%s', to_char(now() at time zone 'UTC', 'YYYYMMDD'));
    execute format('alter table attempt attach partition attempt_%s for values from (minvalue) to (%s)',
      to_char(now() at time zone 'UTC', 'YYYYMMDD'), (today + 1) * 86400000000000);
  else
    drop table attempt_before;
  end if;
end $$;
