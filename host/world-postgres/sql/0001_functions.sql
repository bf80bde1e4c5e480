-- What hosts of layout 1 call. A function keeps its meaning as long as a release that calls it may be alive: a new meaning gets a
-- new number. Nothing here begins a transaction that waits for its client, so no lock is held while a host is stopped or cut off.
--
-- Locks are taken in one order: the lane, limits, heads of runs by key.

create function @.now_1() returns bigint language sql volatile as $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

-- When a run wants to be claimed, after anything that may change it.
create function @.requeue_1(p_key bigint) returns void language sql as $$
  update @.head h set due = case
      when h.host is not null then null
      when r.status <> 8 and exists (select 1 from @.message m where m.key = p_key and m.urgent) then 0
      when h.admission = 1 then null
      when r.status <> 8 and (r.status <> 0 or r.wake_at is null) and exists (select 1 from @.message m where m.key = p_key) then 0
      else r.wake_at end
    from @.run r where h.key = p_key and r.key = p_key $$;

create function @.count_1(p_host int, p_workflow int, p_version int, p_status smallint, p_n int) returns void language sql as $$
  insert into @.run_count as c values (p_workflow, p_version, p_status, p_host, p_n)
    on conflict (workflow, version, status, slot) do update set n = c.n + excluded.n $$;

create function @.last_seq_1(p_key bigint) returns bigint language sql stable as $$
  select coalesce((select first + count - 1 from @.chunk where key = p_key order by first desc limit 1), 0) $$;

-- The streams of a run, each with the number of its entries: they are numbered from 0 without a gap, so the last one tells.
create function @.streams_1(p_key bigint) returns jsonb language sql stable as $$
  with recursive s(stream) as (
    (select stream from @.entry where key = p_key order by stream limit 1)
    union all
    select n.stream from s cross join lateral (select e.stream from @.entry e where e.key = p_key and e.stream > s.stream order by e.stream limit 1) n
  )
  select coalesce(jsonb_agg(jsonb_build_array(stream,
    (select e.index + 1 from @.entry e where e.key = p_key and e.stream = s.stream order by e.index desc limit 1))), '[]') from s $$;

-- Admits those that wait, the best first, as long as there is room.
create function @.admit_1(p_limit text) returns void language plpgsql as $$
declare v_size bigint; v_admitted bigint; v_key bigint;
begin
  loop
    select size, admitted into v_size, v_admitted from @.run_limit where key = p_limit for update;
    exit when not found or v_admitted >= v_size;
    delete from @.waiting where (limit_key, rank, key) =
        (select limit_key, rank, key from @.waiting where limit_key = p_limit order by rank, key limit 1)
      returning key into v_key;
    exit when not found;
    update @.head set admission = 2 where key = v_key;
    update @.run_limit set admitted = admitted + 1 where key = p_limit;
    perform @.requeue_1(v_key);
  end loop;
end $$;

-- A run that is due arrives at its limit, if it has one and has not done so. Whether it is admitted then.
create function @.arrive_1(p_key bigint) returns boolean language plpgsql as $$
declare v_limit text; v_rank bigint;
begin
  select r.limit_key, r.rank into v_limit, v_rank from @.head h join @.run r using (key) where h.key = p_key and h.admission = 0;
  if found and v_limit is not null then
    perform 1 from @.run_limit where key = v_limit for update;
    update @.head set admission = 1, due = null where key = p_key and admission = 0;
    if found then
      insert into @.waiting values (v_limit, v_rank, p_key);
      perform @.admit_1(v_limit);
    end if;
  end if;
  return (select admission = 2 from @.head where key = p_key);
end $$;

-- A run that ends makes room under its limit.
create function @.leave_1(p_key bigint) returns void language plpgsql as $$
declare v_limit text; v_rank bigint; v_admission smallint; v_members bigint;
begin
  select r.limit_key, r.rank into v_limit, v_rank from @.run r where r.key = p_key;
  if v_limit is null then return; end if;
  perform 1 from @.run_limit where key = v_limit for update;
  select admission into v_admission from @.head where key = p_key;
  if v_admission = 1 then delete from @.waiting where limit_key = v_limit and rank = v_rank and key = p_key; end if;
  update @.run_limit set members = members - 1, admitted = admitted - (v_admission = 2)::int where key = v_limit returning members into v_members;
  if v_members = 0 then delete from @.run_limit where key = v_limit; else perform @.admit_1(v_limit); end if;
end $$;

-- A row with its names, as JSON.
create function @.row_1(p_key bigint) returns jsonb language sql stable as $$
  select jsonb_build_object('id', r.id, 'workflow', w.text, 'version', v.text, 'workflow_id', r.workflow, 'version_id', r.version, 'status', r.status, 'created_at', r.created_at,
      'started_at', r.started_at, 'ended_at', r.ended_at, 'wake_at', r.wake_at, 'purge_at', r.purge_at, 'parent', r.parent,
      'limit_key', r.limit_key, 'limit_size', r.limit_size, 'rank', r.rank, 'rest', r.rest)
    from @.run r join @.name w on w.id = r.workflow join @.name v on v.id = r.version where r.key = p_key $$;

-- A claim, on a run that is free.
create function @.take_1(p_key bigint, p_host int, p_now bigint) returns jsonb language plpgsql as $$
declare v_fence bigint; v_tries int; v_admission smallint; v_status smallint; v_wake bigint;
begin
  update @.head set host = p_host, fence = nextval('@.fence'), due = null where key = p_key returning fence, tries, admission into v_fence, v_tries, v_admission;
  select status, wake_at into v_status, v_wake from @.run where key = p_key;
  return jsonb_build_object('key', p_key, 'fence', v_fence, 'tries', v_tries, 'row', @.row_1(p_key), 'last_seq', @.last_seq_1(p_key),
    'admitted', v_admission = 2 and (v_status <> 0 or v_wake is null or v_wake <= p_now));
end $$;

-- Claims on runs that are free and admitted, all at once, in this order.
create function @.take_all_1(p_keys bigint[], p_host int, p_now bigint) returns jsonb[] language sql as $$
  with t as (
    update @.head set host = p_host, fence = nextval('@.fence'), due = null where key = any(p_keys) returning key, fence, tries
  )
  select array_agg(jsonb_build_object('key', t.key, 'fence', t.fence, 'tries', t.tries, 'row', jsonb_build_object('id', r.id, 'workflow', w.text,
        'version', v.text, 'workflow_id', r.workflow, 'version_id', r.version, 'status', r.status, 'created_at', r.created_at, 'started_at', r.started_at,
        'ended_at', r.ended_at, 'wake_at', r.wake_at, 'purge_at', r.purge_at, 'parent', r.parent, 'limit_key', r.limit_key, 'limit_size', r.limit_size,
        'rank', r.rank, 'rest', r.rest),
      'last_seq', coalesce((select c.first + c.count - 1 from @.chunk c where c.key = t.key order by c.first desc limit 1), 0),
      'admitted', r.status <> 0 or r.wake_at is null or r.wake_at <= p_now) order by array_position(p_keys, t.key))
    from t join @.run r using (key) join @.name w on w.id = r.workflow join @.name v on v.id = r.version $$;

-- Whether a host lives, and goes on living until this transaction is over.
create function @.lives_1(p_host int) returns boolean language plpgsql as $$
begin
  perform 1 from @.host where id = p_host and not dead for share;
  return found;
end $$;

-- Claims of what is due, at most so many. Null: the host is dead; "busy": another host looks at this moment, and two would only
-- skip over each other's rows.
create function @.claim_1(p_host int, p_now bigint, p_most int) returns text language plpgsql set lock_timeout = '10s' as $$
declare v_claims jsonb[] := '{}'; v_key bigint; v_keys bigint[]; v_n int := 0; v_comes boolean; v_admitted boolean; v_urgent boolean;
begin
  -- Before anything is locked: a lock is written down and waits for the disk, and most looks find nothing.
  perform 1 from @.head where due <= p_now order by due, key limit 1;
  if not found then return '[]'; end if;
  if not @.lives_1(p_host) then return null; end if;
  if p_most = 0 then return '[]'; end if;
  if not pg_try_advisory_xact_lock(hashtextextended('@.claim', 0)) then return 'busy'; end if;
  -- A few rounds: what arrives at a limit and has to wait is no claim, and thousands that arrive together are no work of one transaction.
  for v_round in 1..16 loop
    select array_agg(key) into v_keys from (select key from @.head where due <= p_now order by due, key limit greatest(p_most - v_n, 256)) x;
    exit when v_keys is null;
    perform 1 from @.run_limit l where l.key in
        (select r.limit_key from @.run r join @.head h using (key) where r.key = any(v_keys) and h.admission = 0 and r.limit_key is not null)
      order by l.key for update;
    select array_agg(key order by due, key) into v_keys
      from (select key, due from @.head where key = any(v_keys) and due <= p_now order by key for update skip locked) x;
    exit when v_keys is null;
    if not exists (select 1 from @.head h where h.key = any(v_keys) and h.admission <> 2)
        and not exists (select 1 from @.message m where m.key = any(v_keys) and m.urgent) then
      v_keys := v_keys[1:p_most - v_n];
      v_claims := v_claims || @.take_all_1(v_keys, p_host, p_now);
      v_n := v_n + cardinality(v_keys);
      exit when v_n >= p_most;
      continue;
    end if;
    foreach v_key in array v_keys loop
      exit when v_n >= p_most;
      select r.status <> 8 and exists (select 1 from @.message m where m.key = v_key and m.urgent) into v_urgent from @.run r where r.key = v_key;
      if v_urgent then
        -- Due for that alone, perhaps: it arrives at its limit only if it would be due without it.
        select h.admission <> 1 and case when r.status <> 0 or r.wake_at is null then true else r.wake_at <= p_now end
          into v_comes from @.head h join @.run r using (key) where h.key = v_key;
      else
        v_comes := true;
      end if;
      v_admitted := v_comes and @.arrive_1(v_key);
      if v_admitted or v_urgent then
        v_claims := v_claims || @.take_1(v_key, p_host, p_now);
        v_n := v_n + 1;
      end if;
    end loop;
    exit when v_n >= p_most;
  end loop;
  return array_to_json(v_claims)::text;
end $$;

-- Claims that a host has, for one that did not hear the answer when it got them.
create function @.claims_of_1(p_host int, p_now bigint) returns text language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('key', h.key, 'fence', h.fence, 'tries', h.tries, 'row', @.row_1(h.key), 'last_seq', @.last_seq_1(h.key),
      'admitted', h.admission = 2 and (r.status <> 0 or r.wake_at is null or r.wake_at <= p_now)) order by h.key), '[]')::text
    from @.head h join @.run r using (key) where h.host = p_host $$;

-- A claim of one run, due or not, that no host holds. Null: there is none to be had.
create function @.claim_run_1(p_id text, p_host int, p_now bigint) returns jsonb language plpgsql set lock_timeout = '10s' as $$
declare v_key bigint; v_ready bigint;
begin
  if not @.lives_1(p_host) then return null; end if;
  perform 1 from @.run_limit l where l.key = (select r.limit_key from @.run r where r.id = p_id) for update;
  select h.key into v_key from @.head h join @.run r using (key) where r.id = p_id and h.host is null for update of h;
  if not found then return null; end if;
  select case
      when h.admission = 1 then null
      when r.status <> 8 and (r.status <> 0 or r.wake_at is null) and exists (select 1 from @.message m where m.key = v_key) then 0
      else r.wake_at end
    into v_ready from @.head h join @.run r using (key) where h.key = v_key;
  if v_ready <= p_now then perform @.arrive_1(v_key); end if;
  return @.take_1(v_key, p_host, p_now);
end $$;

-- A host is there, with one lane.
create function @.register_1(p_name text, p_label text, p_lease bigint) returns int language plpgsql as $$
declare v_host int;
begin
  -- Of those before it nothing is left to know after a day. What one of them may still send finds no lane and is refused.
  with gone as (
    delete from @.host h where h.dead and h.ended < now() - interval '1 day'
      and not exists (select 1 from @.head x where x.host = h.id) returning id
  ) delete from @.lane l using gone where l.host = gone.id;
  insert into @.host (name, label, lease) values (p_name, p_label, p_lease) returning id into v_host;
  insert into @.lane (host, lane) values (v_host, 0);
  return v_host;
end $$;

-- A host says that it lives, and hears which others do. It is on the disk then: a beat that a crash of the database takes back would let
-- the others count from an older one.
create function @.renew_1(p_host int) returns jsonb language plpgsql set lock_timeout = '10s' as $$
declare v_alive boolean;
begin
  update @.host set beat = beat + 1 where id = p_host and not dead;
  v_alive := found;
  return jsonb_build_object('alive', v_alive, 'now', @.now_1(),
    'unfreed', exists (select 1 from @.host x where x.dead and exists (select 1 from @.head h where h.host = x.id)),
    'hosts', (select coalesce(jsonb_agg(jsonb_build_array(id, beat, lease)), '[]') from @.host where not dead and lease is not null));
end $$;

-- The counts of a dead host are added to those of slot 0.
create function @.fold_1(p_host int) returns void language sql as $$
  with gone as (delete from @.run_count where slot = p_host returning workflow, version, status, n)
  insert into @.run_count as c select workflow, version, status, 0, n from gone where n <> 0 order by 1, 2, 3
    on conflict (workflow, version, status, slot) do update set n = c.n + excluded.n $$;

-- Declares a host dead whose beat has stood still; a renewal in between makes it miss. Whether it is dead then. Its lane first: that
-- waits for a batch that is under way, and all that come later are refused.
create function @.bury_1(p_host int, p_beat bigint) returns boolean language plpgsql set lock_timeout = '10s' as $$
begin
  perform 1 from @.lane where host = p_host for update;
  update @.host set dead = true, ended = now() where id = p_host and beat = p_beat and not dead;
  if not found then return exists (select 1 from @.host where id = p_host and dead); end if;
  update @.lane set dead = true where host = p_host;
  delete from @.duty where host = p_host;
  delete from @.place where host = p_host;
  perform @.fold_1(p_host);
  return true;
end $$;

-- A host that knows that it is dead: it was told so, or the database has lost what it had acknowledged to it.
create function @.die_1(p_host int) returns void language plpgsql set lock_timeout = '10s' as $$
begin
  perform 1 from @.lane where host = p_host for update;
  update @.host set dead = true, ended = coalesce(ended, now()) where id = p_host;
  update @.lane set dead = true where host = p_host;
  delete from @.duty where host = p_host;
  delete from @.place where host = p_host;
  perform @.fold_1(p_host);
end $$;

-- Frees runs that dead hosts hold, at most so many. How many there were.
create function @.free_1(p_most int) returns int language plpgsql set lock_timeout = '10s' as $$
declare v_key bigint; v_n int := 0;
begin
  for v_key in
    select h.key from @.head h where h.host in (select id from @.host where dead) order by h.key limit p_most for update of h
  loop
    update @.head set host = null, tries = tries + 1 where key = v_key;
    perform @.requeue_1(v_key);
    v_n := v_n + 1;
  end loop;
  return v_n;
end $$;

-- Whether this host does that for all: the first one that asks, until it is dead.
create function @.duty_1(p_name text, p_host int) returns boolean language plpgsql as $$
declare v_host int;
begin
  -- As most answers are: nothing is written for them.
  select d.host into v_host from @.duty d join @.host h on h.id = d.host and not h.dead where d.name = p_name;
  if found then return v_host = p_host; end if;
  if not @.lives_1(p_host) then return false; end if;
  insert into @.duty as d values (p_name, p_host)
    on conflict (name) do update set host = p_host where not exists (select 1 from @.host x where x.id = d.host and not x.dead);
  return (select host = p_host from @.duty where name = p_name);
end $$;

-- The same for several, whose names begin with a prefix. All others that begin so this host gives up.
create function @.duties_1(p_prefix text, p_names text[], p_host int) returns boolean[] language plpgsql as $$
begin
  delete from @.duty where host = p_host and starts_with(name, p_prefix) and name <> all (p_names);
  return array(select @.duty_1(n, p_host) from unnest(p_names) with ordinality x(n, place) order by place);
end $$;

-- How many places of a limit this host has from now on, and how many it should come down to because others wait. Those who ask for the same
-- limit wait for each other.
create function @.places_1(p_name text, p_host int, p_most int, p_wanted int, out v_held int, out v_share int) language plpgsql as $$
declare v_asked bigint; v_waits bigint; v_taken bigint; v_claimants int; v_others_wait boolean; v_others_starve boolean; v_earlier int; v_fair int; v_free bigint; v_before int;
begin
  v_held := 0; v_share := 0;
  perform pg_advisory_xact_lock(hashtextextended(p_name, 2));
  if not @.lives_1(p_host) then return; end if;
  v_asked := nextval('@.place_asked');
  delete from @.place where name = p_name and host = p_host returning held, waits into v_before, v_waits;
  v_before := coalesce(v_before, 0);
  select coalesce(sum(o.held), 0), 1 + count(*) filter (where o.wanted > 0), coalesce(bool_or(o.wanted > o.held), false),
         -- Those that have none come first, in their order.
         count(*) filter (where o.waits is not null and (v_before > 0 or o.waits < coalesce(v_waits, v_asked)))
    into v_taken, v_claimants, v_others_wait, v_earlier
    from @.place o join @.host h on h.id = o.host and not h.dead where o.name = p_name;
  v_free := greatest(p_most - v_taken - v_earlier, 0);
  v_fair := p_most / v_claimants;
  -- One that has its part waits for what is left over, and nobody gives back for that.
  select coalesce(bool_or(o.wanted > o.held and (o.held = 0 or o.held < v_fair)), false) into v_others_starve
    from @.place o join @.host h on h.id = o.host and not h.dead where o.name = p_name;
  if p_wanted <= v_before then
    v_held := p_wanted;
  else
    v_held := greatest(v_before, least(p_wanted, v_free, case when v_others_wait then (p_most::bigint + v_claimants - 1) / v_claimants else p_most end));
  end if;
  v_share := case when v_others_starve then least(v_held, v_fair) else v_held end;
  if p_wanted > 0 then
    insert into @.place values (p_name, p_host, v_held, p_wanted, case when v_held = 0 then coalesce(v_waits, v_asked) end);
  end if;
end $$;

-- Records of effects that are made under a login which is no host's: it cannot see or forge those of others. Run as their owner.
create function @.result_1(p_token text) returns bytea language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select output from @.transaction_result where login = session_user and token = p_token $$;

create function @.keep_1(p_token text, p_output bytea, p_run text) returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare v_kept bigint;
begin
  insert into @.transaction_result select session_user, p_token, key, p_output from @.run where id = p_run;
  get diagnostics v_kept = row_count;
  return v_kept;
end $$;

-- Who has a token, open or reserved.
create function @.owner_1(p_token text) returns bigint language sql stable as $$
  select coalesce((select key from @.hook where token = p_token),
    (select x.key from @.reserved x join @.head h using (key) where x.token = p_token and h.fence = x.fence and h.host is not null)) $$;

-- Those who open or reserve a hook with the same token wait for each other.
create function @.token_1(p_token text) returns void language sql as $$ select pg_advisory_xact_lock(hashtextextended(p_token, 1)) $$;

create function @.id_1(p_key bigint) returns text language sql stable as $$ select id from @.run where key = p_key $$;

-- Why there is no head of a run.
create function @.ended_1(p_id text, p_key bigint) returns jsonb language sql stable as $$
  select coalesce((select jsonb_build_object('terminal', p_id, 'status', status) from @.run where key = p_key), jsonb_build_object('unknown', p_id)) $$;

-- The key of a run that is held under this fence, its head locked; else why not. `p_host`: the host of the lane, which is alive.
create function @.held_1(p_id text, p_fence bigint, p_host int, out v_key bigint, out v_refusal jsonb) language plpgsql as $$
declare v_status smallint; v_found bigint; v_host int;
begin
  select key, status into v_key, v_status from @.run where id = p_id;
  if not found then
    v_refusal := jsonb_build_object('unknown', p_id);
  elsif v_status between 4 and 7 then
    v_refusal := jsonb_build_object('terminal', p_id, 'status', v_status);
  else
    select fence, host into v_found, v_host from @.head where key = v_key for update;
    if not found then
      -- It ended between the two looks, and may be removed, too.
      v_refusal := @.ended_1(p_id, v_key);
    elsif v_found <> p_fence or v_host is null
        or (v_host is distinct from p_host and not exists (select 1 from @.host where id = v_host and not dead)) then
      -- The lane tells of its own host; another one may be dead, and what it held not be free yet.
      v_refusal := jsonb_build_object('fenced', p_id);
    end if;
  end if;
end $$;

create function @.reserve_1(p_token text, p_id text, p_fence bigint) returns text language plpgsql set lock_timeout = '10s' as $$
declare v_key bigint; v_refusal jsonb; v_owner bigint;
begin
  perform set_config('synchronous_commit', 'off', true);
  select h.v_key, h.v_refusal into v_key, v_refusal from @.held_1(p_id, p_fence, null) h;
  if v_refusal is not null then return null; end if;
  perform @.token_1(p_token);
  v_owner := @.owner_1(p_token);
  if v_owner <> v_key then return @.id_1(v_owner); end if;
  insert into @.reserved values (p_token, v_key, p_fence) on conflict (token) do update set key = excluded.key, fence = excluded.fence;
  return null;
end $$;

create function @.set_limit_1(p_key text, p_size bigint) returns void language plpgsql set lock_timeout = '10s' as $$
begin
  update @.run_limit set size = greatest(p_size, 1) where key = p_key;
  if found then perform @.admit_1(p_key); end if;
end $$;

-- Removes the texts of a version of which no run is left. Whether they are gone. The order makes the server look into the index.
create function @.drop_program_1(p_version text) returns boolean language plpgsql as $$
declare v_version int;
begin
  select id into v_version from @.name where text = p_version;
  if not found then return true; end if;
  perform 1 from @.run where version = v_version order by version, key limit 1;
  if found then return false; end if;
  delete from @.program where version = v_version;
  return true;
end $$;

-- The writes -----------------------------------------------------------------------------------------------------------------

create function @.send_1(p_id text, p_at bigint, p_urgent boolean, p_bytes bytea) returns jsonb language plpgsql as $$
declare v_key bigint; v_status smallint; v_index bigint; v_host int;
begin
  select key, status into v_key, v_status from @.run where id = p_id;
  if not found then return jsonb_build_object('unknown', p_id); end if;
  update @.head set last_message = last_message + 1 where key = v_key returning last_message, host into v_index, v_host;
  if not found then
    return @.ended_1(p_id, v_key);
  end if;
  insert into @.message values (v_key, v_index, p_at, p_urgent, p_bytes);
  if v_host is null then perform @.requeue_1(v_key); end if;
  return jsonb_build_object('sent', v_index, 'host', v_host);
end $$;

create function @.tags_1(p_key bigint, p_terms jsonb) returns void language sql as $$
  insert into @.tag select decode(x, 'hex'), p_key from jsonb_array_elements_text(p_terms) x on conflict do nothing $$;

-- A new run. `p_ending` is the run whose place under the limit it may have, which that one loses then.
create function @.create_1(j jsonb, p_blobs bytea[], p_host int, p_ending bigint) returns jsonb language plpgsql as $$
declare
  r jsonb := j->'row'; v_key bigint; v_id text := r->>'id'; v_status smallint := (r->>'status')::smallint; v_terminal boolean := v_status between 4 and 7;
  v_limit text := r->>'limit_key'; v_wake bigint := (r->>'wake_at')::bigint; v_created bigint := (r->>'created_at')::bigint;
  v_host int := (j->>'host')::int; v_arrives boolean; x jsonb; v_owner bigint; v_n bigint := 0; v_exists jsonb;
begin
  select key into v_key from @.run where id = v_id;
  if found then
    v_exists := @.row_1(v_key);
    if v_exists is null then raise serialization_failure; end if;
    return jsonb_build_object('exists', v_exists);
  end if;
  if (j->>'first')::numeric <> 1 then return jsonb_build_object('sequence', v_id, 'expected', j->'first', 'found', 0); end if;
  for x in select * from jsonb_array_elements(j->'hooks') order by value->>0 loop
    perform @.token_1(x->>0);
  end loop;
  for x in select * from jsonb_array_elements(j->'hooks') loop
    v_owner := @.owner_1(x->>0);
    if v_owner is not null then return jsonb_build_object('token', x->>0, 'run', @.id_1(v_owner)); end if;
  end loop;
  v_arrives := v_host is not null or coalesce(v_wake <= v_created, false);
  v_key := nextval('@.run_key');
  insert into @.run values (v_key, v_id, (r->>'workflow')::int, (r->>'version')::int, v_status, v_created, (r->>'started_at')::bigint,
      (r->>'ended_at')::bigint, case when not v_terminal then v_wake end, (r->>'purge_at')::bigint, r->>'parent', v_limit,
      (r->>'limit_size')::bigint, (r->>'rank')::bigint, r->>'rest')
    on conflict (id) do nothing;
  if not found then
    v_exists := @.row_1((select key from @.run where id = v_id));
    -- It was removed meanwhile: the whole batch is tried again.
    if v_exists is null then raise serialization_failure; end if;
    return jsonb_build_object('exists', v_exists);
  end if;
  perform @.tags_1(v_key, r->'terms');
  perform @.count_1(p_host, (r->>'workflow')::int, (r->>'version')::int, v_status, 1);
  if (j->>'count')::int > 0 then insert into @.chunk values (v_key, 1, (j->>'count')::int, p_blobs[(j->>'bytes')::int]); end if;
  if v_terminal then return '{"waits": true}'; end if;
  for x in select * from jsonb_array_elements(j->'messages') loop
    v_n := v_n + 1;
    insert into @.message values (v_key, v_n, v_created, false, p_blobs[x::int]);
  end loop;
  for x in select * from jsonb_array_elements(j->'hooks') loop
    insert into @.hook values (x->>0, v_key, p_blobs[(x->>1)::int]) on conflict (token) do update set info = excluded.info;
  end loop;
  insert into @.head (key, last_message, admission) values (v_key, v_n, case when v_limit is null then 2 else 0 end);
  if v_limit is not null then
    insert into @.run_limit as l values (v_limit, greatest((r->>'limit_size')::bigint, 1), 0, 1)
      on conflict (key) do update set size = excluded.size, members = l.members + 1;
    if v_arrives and exists (select 1 from @.head h join @.run e using (key) where h.key = p_ending and e.limit_key = v_limit and h.admission = 2) then
      update @.head set admission = 0 where key = p_ending;
      update @.head set admission = 2 where key = v_key;
    elsif v_arrives then
      update @.head set admission = 1 where key = v_key;
      insert into @.waiting values (v_limit, (r->>'rank')::bigint, v_key);
    end if;
    perform @.admit_1(v_limit);
  end if;
  if v_host is not null and (select admission = 2 from @.head where key = v_key) and (v_host = p_host or @.lives_1(v_host)) then
    update @.head set host = v_host, fence = nextval('@.fence'), due = null where key = v_key returning fence into v_n;
    return jsonb_build_object('claimed', v_n, 'key', v_key);
  end if;
  perform @.requeue_1(v_key);
  return '{"waits": true}';
end $$;

create function @.hooks_1(p_key bigint, p_changes jsonb, p_blobs bytea[]) returns void language plpgsql as $$
declare x jsonb; v_owner bigint;
begin
  for x in select * from jsonb_array_elements(p_changes) loop
    if x->1 <> 'null'::jsonb then perform @.token_1(x->>0); end if;
    v_owner := @.owner_1(x->>0);
    if x->1 <> 'null'::jsonb then
      if v_owner is null or v_owner = p_key then
        delete from @.reserved where token = x->>0;
        insert into @.hook as h values (x->>0, p_key, p_blobs[(x->>1)::int])
          on conflict (token) do update set info = excluded.info where h.key = p_key;
      end if;
    elsif exists (select 1 from @.hook where token = x->>0 and key = p_key) then
      delete from @.hook where token = x->>0;
    elsif v_owner = p_key then
      delete from @.reserved where token = x->>0;
    end if;
  end loop;
end $$;

-- The new row of a run that is held. What was not taken of the inbox of one that ends with it.
create function @.set_row_1(p_key bigint, r jsonb, p_host int) returns jsonb language plpgsql as $$
declare v_old record; v_status smallint := (r->>'status')::smallint; v_ends boolean := v_status between 4 and 7; v_left jsonb := '[]';
begin
  select workflow, version, status, rest into v_old from @.run where key = p_key;
  if (v_old.workflow, v_old.version, v_old.status) is distinct from ((r->>'workflow')::int, (r->>'version')::int, v_status) then
    perform @.count_1(p_host, v_old.workflow, v_old.version, v_old.status, -1);
    perform @.count_1(p_host, (r->>'workflow')::int, (r->>'version')::int, v_status, 1);
  end if;
  update @.run set workflow = (r->>'workflow')::int, version = (r->>'version')::int, status = v_status, created_at = (r->>'created_at')::bigint,
      started_at = (r->>'started_at')::bigint, ended_at = (r->>'ended_at')::bigint, wake_at = case when not v_ends then (r->>'wake_at')::bigint end,
      purge_at = (r->>'purge_at')::bigint, parent = r->>'parent', rest = r->>'rest'
    where key = p_key;
  if v_old.rest is not null or r->>'rest' is not null then
    delete from @.tag where key = p_key and term not in (select decode(x, 'hex') from jsonb_array_elements_text(r->'terms') x);
    perform @.tags_1(p_key, r->'terms');
  end if;
  if v_ends then
    with gone as (delete from @.message where key = p_key returning index, at, urgent, bytes)
      select coalesce(jsonb_agg(jsonb_build_array(at, urgent, encode(bytes, 'hex')) order by index), '[]') into v_left from gone;
    delete from @.hook where key = p_key;
    delete from @.reserved where key = p_key;
    perform @.leave_1(p_key);
    delete from @.head where key = p_key;
  end if;
  return v_left;
end $$;

create function @.append_1(p_key bigint, p_stream text, p_bytes bytea) returns void language sql as $$
  insert into @.entry select p_key, p_stream, coalesce((select e.index + 1 from @.entry e where e.key = p_key and e.stream = p_stream order by e.index desc limit 1), 0), p_bytes $$;

create function @.meta_1(p_pairs jsonb, p_blobs bytea[]) returns void language plpgsql as $$
declare x jsonb;
begin
  for x in select * from jsonb_array_elements(p_pairs) loop
    if x->1 = 'null'::jsonb then
      delete from @.meta where key = x->>0;
    else
      insert into @.meta values (x->>0, p_blobs[(x->>1)::int]) on conflict (key) do update set value = excluded.value;
    end if;
  end loop;
end $$;

create function @.commit_1(j jsonb, p_blobs bytea[], p_host int) returns jsonb language plpgsql as $$
declare
  v_key bigint; v_refusal jsonb; v_last bigint; x jsonb; r jsonb := j->'row'; v_ends boolean := coalesce((r->>'status')::int between 4 and 7, false);
  v_made jsonb := '[]'; v_told jsonb := '[]'; v_one jsonb; v_left jsonb := '[]';
begin
  select h.v_key, h.v_refusal into v_key, v_refusal from @.held_1(j->>'id', (j->>'fence')::bigint, p_host) h;
  if v_refusal is not null then return v_refusal; end if;
  if j ? 'first' then
    v_last := @.last_seq_1(v_key);
    if (j->>'first')::numeric <> v_last + 1 then return jsonb_build_object('sequence', j->>'id', 'expected', j->'first', 'found', v_last); end if;
  end if;
  for x in select * from jsonb_array_elements(j->'create') loop
    if (x->>'first')::numeric <> 1 then return jsonb_build_object('sequence', x->'row'->>'id', 'expected', x->'first', 'found', 0); end if;
  end loop;
  if (j->>'count')::int > 0 then insert into @.chunk values (v_key, (j->>'first')::bigint, (j->>'count')::int, p_blobs[(j->>'bytes')::int]); end if;
  if j ? 'taken' then delete from @.message where key = v_key and index <= (j->>'taken')::bigint; end if;
  for x in select * from jsonb_array_elements(j->'append') loop
    perform @.append_1(v_key, x->>0, p_blobs[(x->>1)::int]);
  end loop;
  for x in select * from jsonb_array_elements(j->'values') loop
    if x->1 = 'null'::jsonb then
      delete from @.value where key = v_key and name = x->>0;
    else
      insert into @.value values (v_key, x->>0, p_blobs[(x->>1)::int]) on conflict (key, name) do update set bytes = excluded.bytes;
    end if;
  end loop;
  if j ? 'progress' then update @.head set tries = 0 where key = v_key and tries <> 0; end if;
  perform @.hooks_1(v_key, j->'hooks', p_blobs);
  perform @.meta_1(j->'meta', p_blobs);
  for x in select * from jsonb_array_elements(j->'create') loop
    v_one := @.create_1(x, p_blobs, p_host, case when v_ends then v_key end);
    v_made := v_made || jsonb_build_array(case when v_one ? 'claimed' or v_one ? 'waits' then v_one else '{"exists": true}' end);
  end loop;
  if r is not null then v_left := @.set_row_1(v_key, r, p_host); end if;
  if j ? 'forward' then
    for x in select * from jsonb_array_elements(v_left) loop
      v_one := @.send_1(j->>'forward', (x->>0)::bigint, (x->>1)::boolean, decode(x->>2, 'hex'));
      if v_one ? 'sent' then v_told := v_told || jsonb_build_array(jsonb_build_array(j->>'forward', v_one->'host')); end if;
    end loop;
  elsif j ? 'leave' then
    for x in select * from jsonb_array_elements(v_left) loop
      perform @.append_1(v_key, j->>'leave', decode(x->>2, 'hex'));
    end loop;
  end if;
  for x in select * from jsonb_array_elements(j->'send') loop
    v_one := @.send_1(x->>0, (x->>1)::bigint, (x->>2)::boolean, p_blobs[(x->>3)::int]);
    if v_one ? 'sent' then v_told := v_told || jsonb_build_array(jsonb_build_array(x->>0, v_one->'host')); end if;
  end loop;
  return jsonb_build_object('committed', v_made, 'told', v_told);
end $$;

create function @.delete_1(p_id text, p_host int) returns jsonb language plpgsql as $$
declare r record;
begin
  select key, status, workflow, version into r from @.run where id = p_id for update;
  if not found then return jsonb_build_object('unknown', p_id); end if;
  if r.status not between 4 and 7 then return jsonb_build_object('alive', p_id, 'status', r.status); end if;
  perform @.count_1(p_host, r.workflow, r.version, r.status, -1);
  delete from @.chunk where key = r.key;
  delete from @.entry where key = r.key;
  delete from @.value where key = r.key;
  delete from @.tag where key = r.key;
  delete from @.transaction_result where key = r.key;
  delete from @.run where key = r.key;
  return '{"deleted": true}';
end $$;

create function @.release_1(p_id text, p_fence bigint, p_host int) returns jsonb language plpgsql as $$
declare v_key bigint; v_refusal jsonb;
begin
  select h.v_key, h.v_refusal into v_key, v_refusal from @.held_1(p_id, p_fence, p_host) h;
  if v_refusal is not null then return v_refusal; end if;
  update @.head set host = null where key = v_key;
  delete from @.reserved where key = v_key;
  perform @.requeue_1(v_key);
  return '{"released": true}';
end $$;

-- New runs without a limit, hooks and messages, all at once. Of each that is new: its number in the list, its key, the fence of its claim.
create function @.create_all_1(p_creates jsonb, p_blobs bytea[], p_host int) returns jsonb language sql as $$
  with x as materialized (
    select * from jsonb_to_recordset(p_creates) as x(number int, id text, workflow int, version int, status smallint, created_at bigint,
      started_at bigint, ended_at bigint, wake_at bigint, purge_at bigint, parent text, rest text, terms jsonb, host int, count int, bytes int)
  ), n as (
    insert into @.run
      select nextval('@.run_key'), o.id, o.workflow, o.version, o.status, o.created_at, o.started_at, o.ended_at, o.wake_at, o.purge_at, o.parent,
        null, null, null, o.rest from (select * from x order by number) o
      on conflict (id) do nothing returning key, id
  ), h as (
    insert into @.head (key, host, fence, due, admission)
      select n.key, x.host, case when x.host is null then 0 else nextval('@.fence') end, case when x.host is null then x.wake_at end, 2
        from n join x using (id) returning key, host, fence
  ), c as (
    insert into @.chunk select n.key, 1, x.count, p_blobs[x.bytes] from n join x using (id) where x.count > 0
  ), t as (
    insert into @.tag select decode(term, 'hex'), n.key from n join x using (id), jsonb_array_elements_text(x.terms) term on conflict do nothing
  ), k as (
    insert into @.run_count as c select x.workflow, x.version, x.status, p_host, count(*) from n join x using (id) group by 1, 2, 3
      on conflict (workflow, version, status, slot) do update set n = c.n + excluded.n
  )
  select coalesce(jsonb_agg(jsonb_build_array(x.number, h.key, case when h.host is not null then h.fence end)), '[]') from n join x using (id) join h using (key) $$;

-- New rows of runs that the lane's host holds and that have no limit, all at once.
create function @.rows_all_1(p_rows jsonb) returns void language plpgsql as $$
declare v_ended bigint[];
begin
  update @.run r set workflow = x.workflow, version = x.version, status = x.status, created_at = x.created_at, started_at = x.started_at,
      ended_at = x.ended_at, wake_at = x.wake_at, purge_at = x.purge_at, parent = x.parent, rest = x.rest
    from jsonb_to_recordset(p_rows) as x(key bigint, workflow int, version int, status smallint, created_at bigint, started_at bigint,
      ended_at bigint, wake_at bigint, purge_at bigint, parent text, rest text)
    where r.key = x.key;
  select array_agg(key) into v_ended from jsonb_to_recordset(p_rows) as x(key bigint, status smallint) where status between 4 and 7;
  if v_ended is null then return; end if;
  insert into @.entry
    select m.key, x.leave, row_number() over (partition by m.key order by m.index) - 1
        + coalesce((select e.index + 1 from @.entry e where e.key = m.key and e.stream = x.leave order by e.index desc limit 1), 0), m.bytes
      from jsonb_to_recordset(p_rows) as x(key bigint, status smallint, leave text, taken bigint) join @.message m on m.key = x.key
      where x.leave is not null and x.status between 4 and 7 and m.index > coalesce(x.taken, 0);
  delete from @.message where key = any(v_ended);
  delete from @.hook where key = any(v_ended);
  delete from @.reserved where key = any(v_ended);
  delete from @.head where key = any(v_ended);
end $$;

-- A batch: what is appended to the logs of runs that the lane's host holds; new runs and rows that are alike, each kind at once; and then
-- everything else in order. Null: the lane refuses it, and the host must look why. The chain of batches makes it safe to send one again.
create function @.write_1(p_host int, p_lane smallint, p_session bigint, p_batch bigint, p_keys bigint[], p_firsts bigint[], p_counts int[],
  p_bytes bytea[], p_ops jsonb, p_blobs bytea[], p_runs text[], p_limits text[], p_creates jsonb, p_rows jsonb, p_changes jsonb)
  returns text language plpgsql set lock_timeout = '10s' as $$
declare j jsonb; v_answers jsonb[] := '{}'; v_answer text; v_one jsonb; v_created jsonb; v_exist jsonb;
begin
  perform 1 from @.lane where host = p_host and lane = p_lane and session = p_session and batch = p_batch - 1 and not dead for update;
  if not found then return null; end if;
  if current_setting('synchronous_commit') = 'off' then perform set_config('synchronous_commit', 'on', true); end if;
  -- In one order, whatever the order of the writes: two batches that touch the same rows then wait for each other once.
  if p_limits <> '{}' or p_runs <> '{}' then
    perform 1 from @.run_limit l where l.key = any(p_limits)
      or l.key in (select r.limit_key from @.run r where r.id = any(p_runs) and r.limit_key is not null) order by l.key for update;
    perform 1 from @.head h where h.key in (select r.key from @.run r where r.id = any(p_runs)) order by h.key for update;
  end if;
  insert into @.chunk select * from unnest(p_keys, p_firsts, p_counts, p_bytes);
  if p_rows <> '[]' then
    perform @.rows_all_1(p_rows);
    insert into @.run_count as c select (x->>0)::int, (x->>1)::int, (x->>2)::smallint, p_host, (x->>3)::bigint from jsonb_array_elements(p_changes) x
      on conflict (workflow, version, status, slot) do update set n = c.n + excluded.n;
  end if;
  if p_creates <> '[]' then v_created := @.create_all_1(p_creates, p_blobs, p_host); end if;
  if jsonb_array_length(v_created) < jsonb_array_length(p_creates) then
    select jsonb_object_agg(x.number, @.row_1(r.key)) into v_exist from jsonb_to_recordset(p_creates) as x(number int, id text) join @.run r using (id)
      where not exists (select 1 from jsonb_array_elements(v_created) c where (c->>0)::int = x.number);
    if (select count(*) from jsonb_object_keys(coalesce(v_exist, '{}'))) + jsonb_array_length(v_created) < jsonb_array_length(p_creates) then
      raise serialization_failure;
    end if;
  end if;
  for j in select * from jsonb_array_elements(p_ops) loop
    case j->>'op'
    when 'commit' then v_one := @.commit_1(j, p_blobs, p_host);
    when 'create' then v_one := @.create_1(j, p_blobs, p_host, null);
    when 'send' then v_one := @.send_1(j->>'id', (j->>'at')::bigint, (j->>'urgent')::boolean, p_blobs[(j->>'bytes')::int]);
    when 'release' then v_one := @.release_1(j->>'id', (j->>'fence')::bigint, p_host);
    when 'delete' then v_one := @.delete_1(j->>'id', p_host);
    end case;
    v_answers := v_answers || v_one;
  end loop;
  v_answer := jsonb_build_object('operations', to_jsonb(v_answers), 'created', v_created, 'exist', v_exist)::text;
  update @.lane set batch = p_batch, answer = case when v_answers <> '{}' or v_created is not null then v_answer end where host = p_host and lane = p_lane;
  return v_answer;
end $$;

-- A lane on a new connection: what was sent on the old one is refused from now on. The lock waits for what is under way.
create function @.resume_1(p_host int, p_lane smallint) returns jsonb language plpgsql as $$
declare v_session bigint; v_batch bigint; v_answer text; v_dead boolean;
begin
  update @.lane set session = session + 1 where host = p_host and lane = p_lane returning session, batch, answer, dead into v_session, v_batch, v_answer, v_dead;
  if not found then return null; end if;
  return jsonb_build_object('session', v_session, 'batch', v_batch, 'answer', v_answer, 'dead', v_dead);
end $$;

-- A copy that is put into an empty schema ------------------------------------------------------------------------------------

create function @.restore_run_1(p_key bigint, r jsonb) returns void language plpgsql as $$
begin
  delete from @.run where key = p_key;
  delete from @.tag where key = p_key;
  insert into @.run values (p_key, r->>'id', (r->>'workflow')::int, (r->>'version')::int, (r->>'status')::smallint, (r->>'created_at')::bigint,
    (r->>'started_at')::bigint, (r->>'ended_at')::bigint, (r->>'wake_at')::bigint, (r->>'purge_at')::bigint, r->>'parent', r->>'limit_key',
    (r->>'limit_size')::bigint, (r->>'rank')::bigint, r->>'rest');
  perform @.tags_1(p_key, r->'terms');
end $$;

-- What follows from the lines that were restored. `p_facts` has of each run its tries, its admission and the last message it took.
create function @.restored_1(p_keys bigint[], p_tries int[], p_admissions smallint[], p_taken bigint[]) returns void language plpgsql as $$
declare v_limit text;
begin
  delete from @.chunk x where not exists (select 1 from @.run r where r.key = x.key);
  delete from @.message x where not exists (select 1 from @.run r where r.key = x.key and r.status not between 4 and 7);
  delete from @.entry x where not exists (select 1 from @.run r where r.key = x.key);
  delete from @.value x where not exists (select 1 from @.run r where r.key = x.key);
  delete from @.hook x where not exists (select 1 from @.run r where r.key = x.key and r.status not between 4 and 7);
  insert into @.head (key, tries, admission, last_message)
    select r.key, coalesce(f.tries, 0), case when r.limit_key is null then 2 else coalesce(f.admission, 0) end,
        greatest(coalesce(f.taken, 0), coalesce((select max(index) from @.message m where m.key = r.key), 0))
      from @.run r left join unnest(p_keys, p_tries, p_admissions, p_taken) f(key, tries, admission, taken) on f.key = r.key
      where r.status not between 4 and 7;
  insert into @.run_limit as l select r.limit_key, 1, 0, 0 from @.run r join @.head h using (key) where r.limit_key is not null group by 1 on conflict do nothing;
  delete from @.run_limit l where not exists (select 1 from @.run r join @.head h using (key) where r.limit_key = l.key);
  update @.run_limit l set members = x.members, admitted = x.admitted
    from (select r.limit_key, count(*) members, count(*) filter (where h.admission = 2) admitted from @.run r join @.head h using (key) where r.limit_key is not null group by 1) x
    where x.limit_key = l.key;
  insert into @.waiting select r.limit_key, r.rank, r.key from @.run r join @.head h using (key) where h.admission = 1;
  insert into @.run_count select workflow, version, status, 0, count(*) from @.run group by 1, 2, 3;
  perform @.requeue_1(key) from @.head;
  for v_limit in select key from @.run_limit loop perform @.admit_1(v_limit); end loop;
  perform setval('@.run_key', greatest((select coalesce(max(key), 0) from @.run), 1));
end $$;
