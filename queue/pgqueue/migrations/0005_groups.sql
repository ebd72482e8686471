-- A body that fits into a page stays in its row: one row is written and deleted, not four with an index of their own.
alter table chunk set (toast_tuple_target = 8160);

-- What has been leased is read by its epoch. Leases that ran out are looked for among all, once a second.
create index lease_epoch on lease (epoch);
drop index lease_until;
