DROP TABLE source_head;
