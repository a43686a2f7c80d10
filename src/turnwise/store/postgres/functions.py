"""What must look before it writes, as functions in the database: one message and one transaction for each.

A function locks the row that it decides upon, then looks: what a statement inside it sees is as new as that statement. They
run with the rights of whoever calls them. A changed function gets a new name (`append_2`), so that two releases can share a
schema while one replaces the other. `op` and `append` are ids that the caller makes: a function that finds its own id has been here
before, its answer having been lost, and says again what it said then.
"""

from __future__ import annotations

APPEND = """
CREATE FUNCTION {s}.append_1(
    p_session text, p_after int, p_append uuid, p_bodies text[], p_crcs int[],
    p_tenant text, p_user text, p_agent text, p_status text, p_turns int, p_messages int,
    p_blobs text[], p_said_at int[], p_said text[],
    p_owner text, p_fence bigint, p_hold boolean,
    OUT outcome text, OUT given bigint, OUT ends int, OUT holder text, OUT host text, OUT pid int, OUT until float8
)
LANGUAGE plpgsql AS $f$
DECLARE
    r record;
    v_count int := cardinality(p_bodies);
    v_fence bigint := 0;
    v_now timestamptz;
BEGIN
    LOOP
        SELECT s.tenant, s.last, s.owner, s.fence, s.watched_until INTO r FROM {s}.sessions s WHERE s.id = p_session FOR UPDATE;
        EXIT WHEN FOUND;
        IF p_after <> 0 OR v_count = 0 THEN
            outcome := 'deleted';
            RETURN;
        END IF;
        INSERT INTO {s}.sessions (id, tenant, username, agent) VALUES (p_session, p_tenant, p_user, p_agent)
        ON CONFLICT (id) DO NOTHING;
    END LOOP;

    ends := r.last;
    IF r.last <> p_after AND v_count > 0 THEN
        SELECT e.fence INTO given FROM {s}.entries e WHERE e.session = p_session AND e.seq = p_after + 1 AND e.append = p_append;
        IF FOUND THEN
            outcome := 'done';
            RETURN;
        END IF;
    END IF;

    IF p_owner IS NULL OR p_fence = 0 THEN
        IF r.owner IS DISTINCT FROM p_owner THEN
            SELECT x.owner, x.host, x.pid, extract(epoch FROM x.expires_at)::float8 INTO holder, host, pid, until
            FROM {s}.leases x WHERE x.owner = r.owner AND x.expires_at > clock_timestamp();
            IF FOUND THEN
                outcome := 'busy';
                RETURN;
            END IF;
        END IF;
        IF p_owner IS NOT NULL THEN
            v_fence := r.fence + (r.owner IS DISTINCT FROM p_owner)::int;
        END IF;
    ELSIF r.owner IS DISTINCT FROM p_owner OR r.fence <> p_fence THEN
        outcome := 'lost';
        RETURN;
    ELSE
        v_fence := p_fence;
    END IF;
    IF r.last <> p_after THEN
        outcome := 'conflict';
        RETURN;
    END IF;

    v_now := clock_timestamp();
    UPDATE {s}.sessions s SET
        last = p_after + v_count,
        updated_at = CASE WHEN v_count > 0 THEN v_now ELSE s.updated_at END,
        minute = CASE WHEN v_count > 0 THEN extract(epoch FROM v_now)::bigint / 60 ELSE s.minute END,
        status = coalesce(p_status, s.status),
        turns = s.turns + p_turns,
        messages = s.messages + p_messages,
        owner = CASE WHEN p_owner IS NULL THEN s.owner WHEN p_hold THEN p_owner END,
        fence = CASE WHEN p_owner IS NULL THEN s.fence ELSE v_fence END
    WHERE s.id = p_session;
    INSERT INTO {s}.entries (tenant, session, seq, crc, fence, append, at, body)
    SELECT r.tenant, p_session, p_after + x.n, x.crc, v_fence, p_append, v_now, x.body
    FROM unnest(p_bodies, p_crcs) WITH ORDINALITY AS x(body, crc, n);
    IF cardinality(p_blobs) > 0 THEN
        INSERT INTO {s}.blob_refs (tenant, sha256, session) SELECT r.tenant, x, p_session FROM unnest(p_blobs) AS x ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(p_said) > 0 THEN
        INSERT INTO {s}.texts (tenant, session, seq, part, words)
        SELECT r.tenant, p_session, x.seq, x.n, to_tsvector('pg_catalog.simple', x.said)
        FROM unnest(p_said_at, p_said) WITH ORDINALITY AS x(seq, said, n);
    END IF;
    IF r.watched_until > v_now THEN
        PERFORM pg_notify('{channel}', p_session);
    END IF;
    outcome := 'done';
    given := v_fence;
    ends := p_after + v_count;
END $f$;
"""

CLAIM = """
CREATE FUNCTION {s}.claim_1(p_session text, p_owner text)
RETURNS TABLE (outcome text, given bigint, holder text, host text, pid int, until float8)
LANGUAGE plpgsql AS $f$
DECLARE
    r {s}.sessions%ROWTYPE;
    l {s}.leases%ROWTYPE;
BEGIN
    SELECT * INTO r FROM {s}.sessions s WHERE s.id = p_session FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'unknown', 0::bigint, '', '', 0, 0::float8;
        RETURN;
    END IF;
    IF r.owner IS DISTINCT FROM p_owner THEN
        SELECT * INTO l FROM {s}.leases x WHERE x.owner = r.owner AND x.expires_at > clock_timestamp();
        IF FOUND THEN
            RETURN QUERY SELECT 'busy', 0::bigint, l.owner, l.host, l.pid, extract(epoch FROM l.expires_at)::float8;
            RETURN;
        END IF;
        r.fence := r.fence + 1;
        UPDATE {s}.sessions s SET owner = p_owner, fence = r.fence WHERE s.id = p_session;
    END IF;
    RETURN QUERY SELECT 'done', r.fence, '', '', 0, 0::float8;
END $f$;
"""

DELETE_SESSION = """
CREATE FUNCTION {s}.delete_session_1(p_session text)
RETURNS TABLE (outcome text, holder text, host text, pid int, until float8)
LANGUAGE plpgsql AS $f$
DECLARE
    r {s}.sessions%ROWTYPE;
    l {s}.leases%ROWTYPE;
BEGIN
    SELECT * INTO r FROM {s}.sessions s WHERE s.id = p_session FOR UPDATE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'unknown', '', '', 0, 0::float8;
        RETURN;
    END IF;
    SELECT * INTO l FROM {s}.leases x WHERE x.owner = r.owner AND x.expires_at > clock_timestamp();
    IF FOUND THEN
        RETURN QUERY SELECT 'busy', l.owner, l.host, l.pid, extract(epoch FROM l.expires_at)::float8;
        RETURN;
    END IF;
    DELETE FROM {s}.entries x WHERE x.session = p_session;
    DELETE FROM {s}.texts x WHERE x.session = p_session;
    DELETE FROM {s}.snapshots x WHERE x.session = p_session;
    DELETE FROM {s}.blob_refs x WHERE x.session = p_session;
    DELETE FROM {s}.records x WHERE x.tenant = r.tenant AND x.kind = 'session' AND x.scope = p_session;
    DELETE FROM {s}.sessions x WHERE x.id = p_session;
    RETURN QUERY SELECT 'done', '', '', 0, 0::float8;
END $f$;
"""

BLOBS = """
CREATE FUNCTION {s}.touch_blob_1(p_tenant text, p_sha256 text) RETURNS boolean
LANGUAGE plpgsql AS $f$
DECLARE
    v_upload uuid;
    v_size bigint;
BEGIN
    UPDATE {s}.blobs b SET put_at = clock_timestamp() WHERE b.tenant = p_tenant AND b.sha256 = p_sha256
    RETURNING b.upload, b.size INTO v_upload, v_size;
    RETURN FOUND AND coalesce((
        SELECT sum(length(p.data)) = v_size AND bool_and(sha256(p.data) = p.digest) FROM {s}.pieces p WHERE p.upload = v_upload
    ), false);
END $f$;

CREATE FUNCTION {s}.finish_blob_1(p_tenant text, p_sha256 text, p_size bigint, p_upload uuid) RETURNS boolean
LANGUAGE plpgsql AS $f$
DECLARE
    v_old uuid;
BEGIN
    IF (SELECT coalesce(sum(length(p.data)), -1) FROM {s}.pieces p WHERE p.upload = p_upload) <> p_size THEN
        RETURN false;
    END IF;
    LOOP
        SELECT b.upload INTO v_old FROM {s}.blobs b WHERE b.tenant = p_tenant AND b.sha256 = p_sha256 FOR UPDATE;
        IF FOUND THEN
            UPDATE {s}.blobs b SET upload = p_upload, size = p_size, put_at = clock_timestamp()
            WHERE b.tenant = p_tenant AND b.sha256 = p_sha256;
            IF v_old <> p_upload THEN
                DELETE FROM {s}.pieces p WHERE p.upload = v_old;
            END IF;
            RETURN true;
        END IF;
        INSERT INTO {s}.blobs (tenant, sha256, size, upload, put_at) VALUES (p_tenant, p_sha256, p_size, p_upload, clock_timestamp())
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
END $f$;

CREATE FUNCTION {s}.put_blob_1(p_tenant text, p_sha256 text, p_size bigint, p_upload uuid, p_data bytea) RETURNS boolean
LANGUAGE plpgsql AS $f$
BEGIN
    IF {s}.touch_blob_1(p_tenant, p_sha256) THEN
        RETURN true;
    END IF;
    INSERT INTO {s}.pieces (tenant, upload, number, digest, data) VALUES (p_tenant, p_upload, 0, sha256(p_data), p_data);
    RETURN {s}.finish_blob_1(p_tenant, p_sha256, p_size, p_upload);
END $f$;

CREATE FUNCTION {s}.collect_blobs_1(p_tenant text, p_unused_s float8) RETURNS TABLE (number bigint, bytes bigint)
LANGUAGE plpgsql AS $f$
DECLARE
    v_before timestamptz := clock_timestamp() - make_interval(secs => p_unused_s);
    v_abandoned timestamptz := clock_timestamp() - make_interval(secs => greatest(p_unused_s, 600));
BEGIN
    DELETE FROM {s}.pieces p WHERE p.tenant = p_tenant AND p.at < v_abandoned
        AND NOT EXISTS (SELECT FROM {s}.blobs b WHERE b.upload = p.upload)
        AND NOT EXISTS (SELECT FROM {s}.pieces q WHERE q.upload = p.upload AND q.at >= v_abandoned);
    RETURN QUERY
    WITH gone AS (
        DELETE FROM {s}.blobs b WHERE b.tenant = p_tenant AND b.put_at <= v_before
            AND NOT EXISTS (SELECT FROM {s}.blob_refs f WHERE f.tenant = p_tenant AND f.sha256 = b.sha256)
        RETURNING b.upload, b.size
    ), their_pieces AS (
        DELETE FROM {s}.pieces p USING gone g WHERE p.upload = g.upload
    )
    SELECT count(*), coalesce(sum(g.size), 0)::bigint FROM gone g;
END $f$;
"""

RECORDS = """
CREATE FUNCTION {s}.put_record_1(
    p_tenant text, p_kind text, p_scope text, p_key text, p_value bytea,
    p_expect bigint, p_schema int, p_writer text, p_ttl_s float8, p_op uuid
) RETURNS TABLE (outcome text, number bigint, created float8, updated float8, expires float8)
LANGUAGE plpgsql AS $f$
DECLARE
    r {s}.records%ROWTYPE;
    v_now timestamptz;
    v_live boolean;
BEGIN
    LOOP
        SELECT * INTO r FROM {s}.records x
        WHERE x.tenant = p_tenant AND x.kind = p_kind AND x.scope = p_scope AND x.key = p_key FOR UPDATE;
        IF FOUND THEN
            v_now := clock_timestamp();
            v_live := r.expires_at IS NULL OR r.expires_at > v_now;
            IF r.op <> p_op THEN
                IF p_expect <> (CASE WHEN v_live THEN r.version ELSE 0 END) THEN
                    RETURN QUERY SELECT 'conflict', CASE WHEN v_live THEN r.version ELSE 0 END, 0::float8, 0::float8, 0::float8;
                    RETURN;
                END IF;
                UPDATE {s}.records x SET value = p_value, version = r.version + 1, schema = p_schema, writer = p_writer, op = p_op,
                    created_at = CASE WHEN v_live THEN r.created_at ELSE v_now END, updated_at = v_now,
                    expires_at = v_now + make_interval(secs => p_ttl_s)
                WHERE x.tenant = p_tenant AND x.kind = p_kind AND x.scope = p_scope AND x.key = p_key RETURNING * INTO r;
            END IF;
            EXIT;
        END IF;
        IF p_expect <> 0 THEN
            RETURN QUERY SELECT 'conflict', 0::bigint, 0::float8, 0::float8, 0::float8;
            RETURN;
        END IF;
        v_now := clock_timestamp();
        INSERT INTO {s}.records AS x (tenant, kind, scope, key, value, version, schema, created_at, updated_at, writer, expires_at, op)
        VALUES (p_tenant, p_kind, p_scope, p_key, p_value, 1, p_schema, v_now, v_now, p_writer,
            v_now + make_interval(secs => p_ttl_s), p_op)
        ON CONFLICT DO NOTHING RETURNING * INTO r;
        EXIT WHEN FOUND;
    END LOOP;
    IF p_ttl_s IS NOT NULL THEN
        DELETE FROM {s}.records x WHERE (x.tenant, x.kind, x.scope, x.key) IN (
            SELECT y.tenant, y.kind, y.scope, y.key FROM {s}.records y
            WHERE y.tenant = p_tenant AND y.expires_at < v_now - interval '1 day' LIMIT 10 FOR UPDATE SKIP LOCKED
        );
    END IF;
    RETURN QUERY SELECT 'done', r.version, extract(epoch FROM r.created_at)::float8, extract(epoch FROM r.updated_at)::float8,
        extract(epoch FROM r.expires_at)::float8;
END $f$;

CREATE FUNCTION {s}.delete_record_1(p_tenant text, p_kind text, p_scope text, p_key text, p_expect bigint)
RETURNS TABLE (outcome text, number bigint)
LANGUAGE plpgsql AS $f$
DECLARE
    r {s}.records%ROWTYPE;
    v_version bigint := 0;
BEGIN
    SELECT * INTO r FROM {s}.records x
    WHERE x.tenant = p_tenant AND x.kind = p_kind AND x.scope = p_scope AND x.key = p_key FOR UPDATE;
    IF FOUND AND (r.expires_at IS NULL OR r.expires_at > clock_timestamp()) THEN
        v_version := r.version;
    END IF;
    IF p_expect <> v_version THEN
        RETURN QUERY SELECT 'conflict', v_version;
    ELSIF v_version = 0 THEN
        RETURN QUERY SELECT 'unknown', 0::bigint;
    ELSE
        DELETE FROM {s}.records x WHERE x.tenant = p_tenant AND x.kind = p_kind AND x.scope = p_scope AND x.key = p_key;
        RETURN QUERY SELECT 'done', v_version;
    END IF;
END $f$;
"""

FUNCTIONS = APPEND + CLAIM + DELETE_SESSION + BLOBS + RECORDS
