-- The help desk has keys of its own kind.
CREATE TABLE organizations (
    key TEXT PRIMARY KEY NOT NULL DEFAULT ('org_' || lower(hex(randomblob(6)))),
    title TEXT NOT NULL,
    domain TEXT
);
CREATE TABLE requesters (
    key TEXT PRIMARY KEY NOT NULL DEFAULT ('req_' || lower(hex(randomblob(6)))),
    full_name TEXT NOT NULL,
    organization TEXT REFERENCES organizations (key)
);
INSERT INTO organizations (key, title, domain) VALUES ('org_1', 'Globex', 'globex.example'), ('org_2', 'Hooli', 'hooli.example');
INSERT INTO requesters (key, full_name, organization) VALUES ('req_1', 'Gavin Belson', 'org_2');
