-- The tables of layout 1. `@.` stands for the schema. Names that people look for come first; a plain turn touches `lane` and `chunk` alone.

-- What is there, and the oldest layout that a host must know to use it.
create table @.layout (layout int not null, least_host int not null);

-- A host is one start of one process. Its name is never used again.
create table @.host (
  id     int generated always as identity primary key,
  name   text collate "C" not null unique,
  label  text collate "C" not null,                -- for people: machine, process, version
  lease  bigint,                                   -- milliseconds; null: a client, which holds nothing and never dies
  beat   bigint not null default 0,                -- grows with each renewal; no clock of two machines is ever compared
  since  timestamptz not null default now(),       -- for people
  dead   boolean not null default false,           -- final
  ended  timestamptz                               -- since when it is dead, for people and for those who clean up
) with (fillfactor = 50);

-- One row for each connection that writes: the fence of a host and the chain of its batches.
create table @.lane (
  host    int not null,
  lane    smallint not null,
  session bigint not null default 0,               -- grows with each connection: what an older one still sends is refused
  batch   bigint not null default 0,               -- the last batch that was committed
  answer  text,                                    -- what it came to, if not all of it was accepted plainly
  dead    boolean not null default false,
  primary key (host, lane)
) with (fillfactor = 10);

-- What one host does for all: schedules, retention.
create table @.duty (name text collate "C" primary key, host int not null);

-- Places of limits that hosts share: how many each has, and could use.
create table @.place (
  name   text collate "C" not null,
  host   int not null,
  held   int not null,
  wanted int not null,
  waits  bigint,                                   -- when it began to want one without having any: the first that waits comes first
  primary key (name, host)
);
create sequence @.place_asked;

-- Names of workflows and versions, which stand in many rows.
create table @.name (id int generated always as identity primary key, text text collate "C" not null unique);

create sequence @.run_key;
create sequence @.fence;

-- Every run. Written when it is created, when its row changes and when it ends.
create table @.run (
  key        bigint primary key,                   -- the order of creation
  id         text collate "C" not null unique,
  workflow   int not null,
  version    int not null,
  status     smallint not null,                    -- 0 pending, 1 running, 2 waiting, 3 suspended, 4 completed, 5 failed, 6 cancelled, 7 continued, 8 parked
  created_at bigint not null,
  started_at bigint,
  ended_at   bigint,
  wake_at    bigint,
  purge_at   bigint,
  parent     text collate "C",
  limit_key  text collate "C",                     -- its concurrency, as it was created with
  limit_size bigint,
  rank       bigint,                               -- the lower, the earlier: minus its priority
  rest       text collate "C"                      -- JSON: tags, note, times beyond 2^63
) with (fillfactor = 85);
create index run_workflow on @.run (workflow, key);
create index run_status   on @.run (status, workflow, key);
create index run_version  on @.run (version, key);
create index run_parent   on @.run (parent, key) where parent is not null;
create index run_limited  on @.run (limit_key, key) where limit_key is not null and status not between 4 and 7;
create index run_purge    on @.run (purge_at, key) where purge_at is not null and status between 4 and 7;

create table @.tag (term bytea not null, key bigint not null, primary key (term, key));
create index tag_key on @.tag (key);

-- Runs that have not ended: who holds them, when they are due.
create table @.head (
  key          bigint primary key,
  host         int,
  fence        bigint not null default 0,
  due          bigint,                             -- null: held, or waits for its limit, or has nothing to wait for
  tries        int not null default 0,
  last_message bigint not null default 0,
  admission    smallint not null                   -- 0 not arrived, 1 waiting, 2 admitted
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index head_due  on @.head (due, key) where due is not null;
create index head_host on @.head (host, key) where host is not null;

create table @.chunk (key bigint not null, first bigint not null, count int not null, bytes bytea not null, primary key (key, first))
  with (autovacuum_vacuum_insert_scale_factor = 0.1);
create table @.message (key bigint not null, index bigint not null, at bigint not null, urgent boolean not null, bytes bytea not null, primary key (key, index))
  with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index message_urgent on @.message (key) where urgent;
create table @.entry (key bigint not null, stream text collate "C" not null, index bigint not null, bytes bytea not null, primary key (key, stream, index));
create table @.value (key bigint not null, name text collate "C" not null, bytes bytea not null, primary key (key, name));
create table @.hook (token text collate "C" primary key, key bigint not null, info bytea not null);
create index hook_key on @.hook (key);
create table @.reserved (token text collate "C" primary key, key bigint not null, fence bigint not null);
create index reserved_key on @.reserved (key);

-- Concurrency limits of runs that have not ended, and those of them that wait.
create table @.run_limit (key text collate "C" primary key, size bigint not null, admitted bigint not null, members bigint not null) with (fillfactor = 50);
create table @.waiting (limit_key text collate "C" not null, rank bigint not null, key bigint not null, primary key (limit_key, rank, key));

-- How many runs are alike. Each host has counts of its own (`slot`), which no other one waits for; those of the dead are added to slot 0.
create table @.run_count (workflow int, version int, status smallint, slot int, n bigint not null, primary key (workflow, version, status, slot)) with (fillfactor = 50);

-- What steps came to that worked within a transaction of this database: committed with what they wrote.
create table @.transaction_result (
  login  text collate "C" not null,                -- of those who are not hosts, each of which sees its own only; '' of hosts
  token  text collate "C" not null,
  key    bigint not null,
  output bytea not null,
  primary key (login, token)
);
create index transaction_result_key on @.transaction_result (key);

create table @.meta (key text collate "C" primary key, value bytea not null);
create table @.program (version int primary key, bytes bytea not null);

do $$ begin
  alter table @.chunk alter bytes set compression lz4;
  alter table @.entry alter bytes set compression lz4;
  alter table @.message alter bytes set compression lz4;
exception when others then
  raise notice 'this server was built without lz4: it compresses large payloads with pglz';
end $$;

insert into @.layout values (1, 1);
