CREATE TABLE visit (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
