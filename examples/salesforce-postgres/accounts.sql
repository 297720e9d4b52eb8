-- The article's table. `last_modified` is filled from Salesforce; no trigger of yours should touch it.
CREATE TABLE IF NOT EXISTS accounts (
    id SERIAL PRIMARY KEY,
    sf_id VARCHAR(18) UNIQUE,
    account_name VARCHAR(255),
    industry_type VARCHAR(100),
    annual_revenue DECIMAL(18,2),
    last_modified TIMESTAMP,
    last_sync TIMESTAMP
);
CREATE INDEX IF NOT EXISTS idx_accounts_sf_id ON accounts(sf_id);
