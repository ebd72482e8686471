-- Whose window a lease fills; null for one that fills none.
alter table lease add column connector text collate "C";
alter table lease add column host text collate "C";
create index lease_window on lease (connector, host) where connector is not null;

-- A row to lock while leases that fill a window are counted and made. It says nothing.
create table dest_window (
  connector text collate "C" not null,
  host      text collate "C" not null,
  primary key (connector, host)
);
