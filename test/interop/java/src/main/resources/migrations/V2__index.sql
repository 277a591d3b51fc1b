create index on items (name);
