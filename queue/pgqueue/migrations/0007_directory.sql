-- The directory that the gateways of a site share: their files are copies of its beginning. Each entry and tombstone as it was last
-- written, under the number of that write.
create table directory_entry (
  key  text   collate "C" not null primary key,
  usn  bigint not null,
  gone boolean not null,                 -- a tombstone
  text text   not null                   -- JSON
);
create unique index directory_entry_usn on directory_entry (usn);

-- A commit of entries, under the number of its last write.
create table directory_stamp (
  usn   bigint not null primary key,
  stamp bigint not null,
  at    bigint not null                  -- seconds
);

-- What is kept beside the entries; a removal keeps its row, without a value, until no gateway waits for it.
create table directory_side (
  bucket text   collate "C" not null,
  key    bytea  not null,
  mark   bigint not null,
  at     bigint not null,                -- seconds
  value  bytea,
  primary key (bucket, key)
);
create unique index directory_side_mark on directory_side (mark);

-- The end of the history: one row, whose lock is the right to write.
create table directory_head (
  one    boolean not null primary key check (one),
  usn    bigint  not null,
  stamp  bigint  not null,
  purged bigint  not null,
  pruned bigint  not null,
  mark   bigint  not null,
  swept  bigint  not null
) with (fillfactor = 10);
insert into directory_head values (true, 0, 0, 0, 0, 0, 0);

-- Each gateway's last change of the directory: it asks when the answer to a commit was lost.
create table directory_writer (
  node   text   collate "C" not null primary key,
  change bigint not null,
  at     bigint not null                 -- seconds
);
