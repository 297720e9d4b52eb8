CREATE TABLE clients (
    client_no INTEGER PRIMARY KEY,
    crm_id INTEGER UNIQUE,
    full_name TEXT NOT NULL,
    telephone TEXT,
    mail TEXT
);
INSERT INTO clients (client_no, full_name, telephone, mail) VALUES
    (1001, 'Katherine Johnson', '+14089961010', 'katherine@example.com');
