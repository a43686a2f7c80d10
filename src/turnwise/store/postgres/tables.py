"""The tables, as the first version of the schema makes them. What changes them later is a migration of its own in `schema`.

Every row that belongs to a tenant says which one; the leases are of processes, which serve all tenants. Ids and keys are compared byte by
byte (collation "C"), so that order and prefixes are the same everywhere. A session's row carries what a list shows and what an append must
know, and nothing large: it is written anew by each append. `minute` is that of `updated_at`: lists are sorted by it with an index that most
appends need not touch.
"""

from __future__ import annotations

TABLES = """
CREATE TABLE {s}.sessions (
    id text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    username text COLLATE "C" NOT NULL,
    name text COLLATE "C",
    title text NOT NULL DEFAULT '',
    agent text COLLATE "C" NOT NULL DEFAULT '',
    folder text COLLATE "C" NOT NULL DEFAULT '',
    tags text[] COLLATE "C" NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    minute int NOT NULL DEFAULT extract(epoch FROM clock_timestamp())::bigint / 60,
    last int NOT NULL DEFAULT 0,
    turns int NOT NULL DEFAULT 0,
    messages int NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'idle',
    archived boolean NOT NULL DEFAULT false,
    owner text COLLATE "C",
    fence bigint NOT NULL DEFAULT 0,
    watched_until timestamptz,
    made uuid
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX sessions_name ON {s}.sessions (tenant, name) WHERE name IS NOT NULL;
CREATE INDEX sessions_recent ON {s}.sessions (tenant, minute DESC);
CREATE INDEX sessions_running ON {s}.sessions (tenant) WHERE status = 'running';
CREATE INDEX sessions_owner ON {s}.sessions (owner) WHERE owner IS NOT NULL;

CREATE TABLE {s}.entries (
    tenant text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    seq int NOT NULL,
    crc int NOT NULL,
    fence bigint NOT NULL,
    append uuid NOT NULL,
    at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (session, seq)
);

CREATE TABLE {s}.snapshots (
    session text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    seq int NOT NULL,
    version int NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE {s}.leases (
    owner text COLLATE "C" PRIMARY KEY,
    host text NOT NULL,
    pid int NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE {s}.texts (
    tenant text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    seq int NOT NULL,
    part int NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (session, seq, part)
);
CREATE INDEX texts_words ON {s}.texts USING gin (words);

CREATE TABLE {s}.blobs (
    tenant text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    upload uuid NOT NULL UNIQUE,
    put_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, sha256)
);
CREATE TABLE {s}.pieces (
    tenant text COLLATE "C" NOT NULL,
    upload uuid NOT NULL,
    number int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    digest bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (upload, number)
);
CREATE TABLE {s}.blob_refs (
    tenant text COLLATE "C" NOT NULL,
    sha256 text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, sha256, session)
);
CREATE INDEX blob_refs_session ON {s}.blob_refs (session);

CREATE TABLE {s}.records (
    tenant text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    version bigint NOT NULL,
    schema int NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    writer text NOT NULL,
    expires_at timestamptz,
    op uuid NOT NULL,
    PRIMARY KEY (tenant, kind, scope, key)
);
CREATE INDEX records_expired ON {s}.records (tenant, expires_at) WHERE expires_at IS NOT NULL;
"""
