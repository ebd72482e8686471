-- Counts under the limits of the cluster: when each is whole again. Hashes of keys, which strangers choose. Small and hot: vacuumed all
-- the time, and without an index on what changes, so that an update stays on its page.
create table rate (
  kind  text   collate "C" not null,
  key   bytea  not null,
  whole bigint not null,
  primary key (kind, key)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
