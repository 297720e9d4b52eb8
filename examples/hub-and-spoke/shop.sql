-- The shop numbers its customers and the people who order for them.
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    company TEXT NOT NULL,
    website TEXT,
    phone TEXT
);
CREATE TABLE buyers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    customer_id INTEGER REFERENCES customers (id)
);
INSERT INTO customers (id, company, website, phone) VALUES (1, 'Acme', 'acme.example', '+1 206 555 0100'), (2, 'Initech', 'initech.example', NULL);
INSERT INTO buyers (id, name, customer_id) VALUES (1, 'Wile E. Coyote', 1), (2, 'Bill Lumbergh', 2);
