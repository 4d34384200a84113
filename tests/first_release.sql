-- A registry as the first release left it; it must be readable for ever, so never change it.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE breaker (
	model VARCHAR NOT NULL,
	run INTEGER NOT NULL,
	last_voice_pk INTEGER,
	opened_at DATETIME,
	cause VARCHAR,
	probes INTEGER NOT NULL,
	probe_at DATETIME,
	PRIMARY KEY (model),
	CONSTRAINT breaker_signs CHECK (run >= 0 AND probes >= 0)
);
CREATE TABLE history (
	id INTEGER NOT NULL,
	voice_pk INTEGER NOT NULL,
	at DATETIME NOT NULL,
	event VARCHAR NOT NULL,
	level VARCHAR NOT NULL,
	detail JSON,
	logged BOOLEAN NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
INSERT INTO "history" VALUES(1,1,'2026-05-01 12:00:00.000000','voice.registered','info',NULL,1);
INSERT INTO "history" VALUES(2,1,'2026-05-01 12:00:00.000000','keepalive.succeeded','info','{"task_id": "task_1"}',1);
CREATE TABLE keeper (
	keeper VARCHAR NOT NULL,
	version VARCHAR NOT NULL,
	once BOOLEAN NOT NULL,
	started_at DATETIME NOT NULL,
	last_pass_at DATETIME,
	PRIMARY KEY (keeper)
);
INSERT INTO "keeper" VALUES('1@here','0.1.0',0,'2026-05-01 12:00:00.000000','2026-05-01 12:00:00.000000');
CREATE TABLE task (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	voice_pk INTEGER,
	model VARCHAR NOT NULL,
	kind VARCHAR(16) NOT NULL,
	state VARCHAR(16) NOT NULL,
	spoken VARCHAR,
	task_id VARCHAR,
	sent_at DATETIME NOT NULL,
	created_at DATETIME,
	finished_at DATETIME,
	next_poll_at DATETIME,
	polls INTEGER NOT NULL,
	code VARCHAR,
	message VARCHAR,
	cost_micros INTEGER,
	CONSTRAINT task_polls_sign CHECK (polls >= 0),
	CONSTRAINT task_running_is_polled CHECK (state <> 'running' OR (task_id IS NOT NULL AND next_poll_at IS NOT NULL)),
	CONSTRAINT task_kind CHECK (kind IN ('keepalive', 'clone', 'design', 'control')),
	CONSTRAINT task_state CHECK (state IN ('intent', 'running', 'success', 'failed', 'refused', 'unknown')),
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
INSERT INTO "task" VALUES(1,1,'cosyvoice-3-flash','keepalive','success','id-narrator','task_1','2026-05-01 12:00:00.000000','2026-05-01 12:00:00.000000','2026-05-01 12:00:00.000000',NULL,2,NULL,NULL,60);
INSERT INTO "task" VALUES(2,2,'cosyvoice-3-flash','design','failed',NULL,'task_2','2026-05-01 12:00:00.000000',NULL,'2026-05-01 12:00:00.000000',NULL,2,'500',NULL,30000);
CREATE TABLE voice (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	name VARCHAR NOT NULL,
	model VARCHAR NOT NULL,
	voice_id VARCHAR,
	origin VARCHAR(16) NOT NULL,
	status VARCHAR(16) NOT NULL,
	paused BOOLEAN NOT NULL,
	recipe JSON,
	created_at DATETIME NOT NULL,
	last_used_at DATETIME,
	enrolled_at DATETIME,
	anchored_at DATETIME NOT NULL,
	next_at DATETIME,
	failures INTEGER NOT NULL,
	last_error VARCHAR,
	suspected_at DATETIME,
	controlled_at DATETIME,
	CONSTRAINT voice_name_is_unique UNIQUE (name),
	CONSTRAINT voice_id_is_unique UNIQUE (model, voice_id),
	CONSTRAINT voice_name_length CHECK (length(name) BETWEEN 1 AND 64),
	CONSTRAINT voice_failures_sign CHECK (failures >= 0),
	CONSTRAINT voice_ok_has_id CHECK (status <> 'OK' OR voice_id IS NOT NULL),
	CONSTRAINT voice_origin CHECK (origin IN ('imported', 'clone', 'design')),
	CONSTRAINT voice_status CHECK (status IN ('NEW', 'DEPLOYING', 'OK', 'UNDEPLOYED', 'FAILED', 'UNKNOWN', 'LOST'))
);
INSERT INTO "voice" VALUES(1,'narrator','cosyvoice-3-flash','id-narrator','imported','OK',0,NULL,'2026-05-01 12:00:00.000000','2026-05-01 12:00:00.000000',NULL,'2026-05-01 12:00:00.000000','2026-05-04 06:00:00.000000',0,NULL,NULL,NULL);
INSERT INTO "voice" VALUES(2,'guide','cosyvoice-3-flash',NULL,'design','FAILED',0,'{"prefix": "guide01", "prompt": "Warm.", "preview_text": "Hello."}','2026-05-01 12:00:00.000000',NULL,NULL,'2026-05-01 12:00:00.000000',NULL,1,'the review refused it',NULL,NULL);
CREATE INDEX voice_by_next_at ON voice (next_at);
CREATE INDEX voice_suspected ON voice (model) WHERE suspected_at IS NOT NULL AND controlled_at IS NULL;
CREATE INDEX task_by_voice ON task (voice_pk, id);
CREATE INDEX task_open ON task (state) WHERE state IN ('intent', 'running');
CREATE INDEX task_by_next_poll ON task (next_poll_at) WHERE state = 'running';
CREATE INDEX history_by_voice ON history (voice_pk, id);
CREATE INDEX history_unlogged ON history (id) WHERE logged = 0;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('voice',3);
INSERT INTO "sqlite_sequence" VALUES('task',2);
COMMIT;
