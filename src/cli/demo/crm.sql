CREATE TABLE contacts (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    phone TEXT,
    email TEXT
);
INSERT INTO contacts (id, name, phone, email) VALUES
    (1, 'ada LOVELACE', '(650) 253-0000', 'Ada@Example.com'),
    (2, '  Grace hopper', '1.212.221.3546', 'GRACE@EXAMPLE.COM'),
    (3, 'ERIK ØSTGAARD', '+47 22 44 22 22', NULL),
    (4, 'leonie köhler', '+49 0711 2842222', 'leonie@example.de'),
    (5, 'seán o''connor', '+353 (0)1 679 2424', 'sean@example.ie'),
    (6, 'françois tremblay', '514-721-4711 ', 'Francois@Example.ca');
