-- Leases: which processes are alive, so that the holds of a dead one end soon.
--
-- A process that admits requests has a row here, which it renews every few seconds, and a database
-- session that holds the advisory lock of that row. A missed renewal alone proves nothing: the
-- process may be paused, or its host busy. A lost session alone proves nothing either: PostgreSQL
-- may have restarted, or the network failed, and the process reconnects within seconds. A process
-- with neither is suspected, and considered dead if that is still so after the same time again.

-- The first half of the advisory locks' key; the lease's id is the second.
CREATE OR REPLACE FUNCTION billing_lease_lock() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$ SELECT 1819238757 $$;

-- Begin a lease and hold its lock for the rest of the session. Return its id.
CREATE OR REPLACE FUNCTION billing_begin_lease(process_name text)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    lease integer;
BEGIN
    DELETE FROM billing_processlease WHERE ended_at < now() - interval '1 day';
    INSERT INTO billing_processlease (process, started_at, renewed_at)
    VALUES (left(process_name, 200), now(), now()) RETURNING id INTO lease;
    PERFORM pg_advisory_lock(billing_lease_lock(), lease);
    RETURN lease;
END
$$;

-- Renew a lease, and with `takes_lock` try to take its lock for the rest of the session, which does
-- not have it yet. Return whether the lease is still valid, and whether this session has the lock:
-- as long as the server keeps an earlier session of the process, that one has it.
CREATE OR REPLACE FUNCTION billing_renew_lease(
    lease integer, takes_lock boolean, OUT goes_on boolean, OUT is_locked boolean)
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_processlease SET renewed_at = now(), suspected_at = NULL
    WHERE id = lease AND ended_at IS NULL;
    goes_on := FOUND;
    is_locked := NOT takes_lock
                 OR (goes_on AND pg_try_advisory_lock(billing_lease_lock(), lease));
END
$$;

-- Tell whether a session holds the lock of a lease.
CREATE OR REPLACE FUNCTION billing_lease_is_locked(lease integer)
RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
          AND l.classid = billing_lease_lock()::oid AND l.objid = lease::oid AND l.objsubid = 2)
$$;

-- Suspect the processes that have neither renewed nor locked their lease for `lease_seconds`, end
-- the leases of those suspected for that long as well, and return how many were ended. The sweep
-- releases what they hold.
CREATE OR REPLACE FUNCTION billing_end_dead_leases(lease_seconds double precision)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    silence constant interval := make_interval(secs => lease_seconds);
    ended integer;
BEGIN
    -- A renewal under way locks the row; the conditions are evaluated again once it commits.
    UPDATE billing_processlease SET ended_at = now()
    WHERE ended_at IS NULL AND renewed_at < now() - silence AND suspected_at < now() - silence
      AND NOT billing_lease_is_locked(id);
    GET DIAGNOSTICS ended = ROW_COUNT;

    UPDATE billing_processlease SET suspected_at = now()
    WHERE ended_at IS NULL AND renewed_at < now() - silence AND suspected_at IS NULL
      AND NOT billing_lease_is_locked(id);
    RETURN ended;
END
$$;
