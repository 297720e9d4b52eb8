-- The hub knows some accounts already, but not which customers and organizations they are.
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    shop_id INTEGER UNIQUE,
    support_id TEXT UNIQUE,
    name TEXT NOT NULL,
    website TEXT,
    phone TEXT
);
CREATE TABLE people (
    id INTEGER PRIMARY KEY,
    shop_id INTEGER UNIQUE,
    support_id TEXT UNIQUE,
    name TEXT NOT NULL,
    account_id INTEGER REFERENCES accounts (id)
);
INSERT INTO accounts (id, name, website, phone) VALUES (501, 'Acme', 'acme.example', NULL), (502, 'Globex', 'globex.example', '+1 206 342 8631');
INSERT INTO people (id, name, account_id) VALUES (601, 'Hank Scorpio', 502);
