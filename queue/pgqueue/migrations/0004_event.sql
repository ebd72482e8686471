-- What happened to each message, as the gateways' own tracking logs have it, in a partition a day (UTC) by when it was stored:
-- each gateway adds what its log has. node, file and place name the line.
create table event (
  stored bigint   not null,
  at     bigint   not null,               -- the event's own time
  node   text     collate "C" not null,
  file   bigint   not null,
  place  bigint   not null,
  names  bigint[] not null,               -- hashes of the words by which it is found
  line   text     not null                -- JSON
) partition by range (stored);
create index event_at on event (at);
-- A list of what is not in the index yet would be read whole by each trace.
create index event_names on event using gin (names) with (fastupdate = off);
create table event_rest partition of event default;
create index event_rest_stored on event_rest (stored);

-- How far a gateway's log is in the table above.
create table event_log (
  node     text   collate "C" not null primary key,
  position text   not null,
  at       bigint not null               -- when something was added last
);
