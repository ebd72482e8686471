-- Times are nanoseconds since 1970-01-01 UTC, on the server's clock; null is no time.
-- Text that strangers wrote is as package exactjson writes it. All keys are made by the gateways, from blocks of numbers.

create sequence block;

-- A gateway on this queue. The latest process under a name has the latest incarnation, and only that one may lease.
create table node (
  name        text   not null primary key,
  incarnation bigint not null,
  opened      bigint not null,
  -- Until when its leases are believed; renewed while it holds some.
  alive       bigint not null
);

-- What waits: one content for the recipients that share a destination.
create table item (
  id         bigint   not null primary key,
  body       bigint   not null,
  size       bigint   not null,
  sha256     text     not null,
  connector  text     collate "C" not null,
  host       text     collate "C" not null,
  rank       smallint not null,          -- 0 urgent, 1 normal, 2 non-urgent
  state      text     not null check (state in ('ready', 'held', 'trash')),
  was        text     not null,          -- before it went to the trash
  next       bigint   not null,
  expires    bigint   not null,
  created    bigint   not null,
  changed    bigint,
  attempts   integer  not null,
  key        text     not null,
  delayed    boolean  not null,
  unknown    boolean  not null,
  reason     text     not null,
  by_whom    text     not null,
  dedup      bytea,
  message    text     not null,          -- Envelope.ID
  message_id text     not null,
  originator text     not null,
  class      text     not null,          -- of the last failure
  envelope   text     not null,          -- JSON, without recipients
  tries      text     not null,          -- JSON
  last       text     not null           -- JSON, '' when nothing has failed
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_limit = 2000);

-- The order in which a destination's mail is leased; its first columns are also the list of destinations.
create index item_due on item (connector, host, rank, next, id) where state = 'ready';
create index item_dest on item (connector, host, id) where state <> 'trash';
create index item_body on item (body);
create index item_trash on item (changed) where state = 'trash';

create table recipient (
  item    bigint   not null,
  n       integer  not null,
  type    text     not null,
  address text     not null,
  name    text     not null,
  orcpt   text     not null,
  notify  smallint not null,
  number  integer  not null,
  primary key (item, n)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_limit = 2000);

-- Bodies, shared by the items of a message. Each has a part 0, which is also what is locked before one is shared or dropped.
create table chunk (
  body bigint  not null,
  n    integer not null,
  data bytea   not null,
  primary key (body, n)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_limit = 2000,
        toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 2000);
alter table chunk alter column data set storage external;

-- Running attempts. The row is the right to settle: whoever finds it gone has lost. Small and hot: vacuumed all the time.
create table lease (
  item    bigint  not null primary key,
  epoch   bigint  not null,
  node    text    not null,
  owner   text    not null,
  began   bigint  not null,
  until   bigint  not null,
  held    boolean not null,
  pending text    not null               -- JSON: verbs that take effect when it settles
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index lease_until on lease (until);

-- Attempts that ended, for a few days: what a gateway asks that does not know whether its commit took place.
create table attempt (
  item    bigint not null,
  epoch   bigint not null,
  node    text   not null,
  owner   text   not null,
  began   bigint not null,
  ended   bigint not null,
  outcome text   not null,               -- done, kept, trash, unknown, purged
  class   text   not null,
  primary key (item, epoch)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
create index attempt_ended on attempt (ended);

create table dedup (
  hash bytea   not null primary key,
  day  integer not null,                 -- the latest on which it mattered
  put  bigint  not null,                 -- the number of the Put that made it
  ids  text    not null                  -- JSON
);
create index dedup_day on dedup (day);

create table suspension (
  connector text   collate "C" not null,
  host      text   collate "C" not null,
  reason    text   not null,
  by_whom   text   not null,
  since     bigint not null,
  until     bigint,
  primary key (connector, host)
);
