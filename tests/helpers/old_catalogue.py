"The tables of a catalogue as birdsort 0.1 made them."

TABLES = """
create table picture (id integer primary key, label text not null, source text, query text, address text,
  page text, title text, author text, licence text,
  state text not null check (state in ('asked', 'kept', 'removed', 'rejected', 'generated')), reason text,
  name text, sha256 text, bytes integer, width integer, height integer, split text, added text,
  unique (label, address));
create index picture_file on picture (label, name);
create table stage (name text primary key, signature text, result text, finished text);
create table step (id integer primary key, name text, made text, undoes integer);
create table move (id integer primary key, step integer, picture integer, source text, target text, was text,
  becomes text, done integer default 0);
create table choice (id integer primary key, step integer, picture integer, action text, label text);
"""
