BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0004');
CREATE TABLE alert (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	kind VARCHAR(16) NOT NULL, 
	voice_pk INTEGER, 
	model VARCHAR NOT NULL, 
	level VARCHAR NOT NULL, 
	cause VARCHAR NOT NULL, 
	since DATETIME NOT NULL, 
	told INTEGER NOT NULL, 
	tell_at DATETIME, 
	ended_at DATETIME, 
	send_at DATETIME, 
	sent_at DATETIME, 
	CONSTRAINT alert_kind CHECK (kind IN ('lost', 'undeployed', 'risk', 'blocked', 'enrollment')), 
	CONSTRAINT alert_level CHECK (level IN ('info', 'warning', 'error')), 
	CONSTRAINT alert_told_sign CHECK (told >= 0), 
	CONSTRAINT alert_subject CHECK ((kind = 'blocked') = (voice_pk IS NULL)), 
	CONSTRAINT alert_is_told CHECK (ended_at IS NOT NULL OR tell_at IS NOT NULL), 
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
CREATE TABLE audio (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	voice_pk INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	voice_id VARCHAR, 
	url VARCHAR NOT NULL, 
	ends_at DATETIME NOT NULL, 
	next_at DATETIME, 
	failures INTEGER NOT NULL, 
	file VARCHAR, 
	error VARCHAR, 
	CONSTRAINT audio_kind CHECK (kind IN ('preview', 'source')), 
	CONSTRAINT audio_failures_sign CHECK (failures >= 0), 
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
CREATE TABLE balance (
	id INTEGER NOT NULL, 
	micros INTEGER NOT NULL, 
	told_at DATETIME NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT balance_is_one CHECK (id = 1)
);
CREATE TABLE breaker (
	model VARCHAR NOT NULL, 
	run INTEGER NOT NULL, 
	last_voice_pk INTEGER, 
	opened_at DATETIME, 
	cause VARCHAR, 
	probes INTEGER NOT NULL, 
	probe_at DATETIME, 
	judged_at DATETIME, 
	distrusted BOOLEAN NOT NULL, 
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
CREATE TABLE keeper (
	keeper VARCHAR NOT NULL, 
	version VARCHAR NOT NULL, 
	once BOOLEAN NOT NULL, 
	started_at DATETIME NOT NULL, 
	last_pass_at DATETIME, 
	alive_until DATETIME, 
	share FLOAT NOT NULL, 
	interval_s FLOAT NOT NULL, 
	PRIMARY KEY (keeper)
);
CREATE TABLE ledger (
	day DATE NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	cost_micros INTEGER NOT NULL, 
	possible_cost_micros INTEGER NOT NULL, 
	PRIMARY KEY (day, kind), 
	CONSTRAINT ledger_signs CHECK (cost_micros >= 0 AND possible_cost_micros >= 0), 
	CONSTRAINT ledger_kind CHECK (kind IN ('keepalive', 'clone', 'design', 'control'))
);
CREATE TABLE message (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	topic VARCHAR(16) NOT NULL, 
	place INTEGER NOT NULL, 
	level VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	body VARCHAR NOT NULL, 
	made_at DATETIME NOT NULL, 
	tries INTEGER NOT NULL, 
	send_at DATETIME, 
	sent_at DATETIME, 
	CONSTRAINT message_topic CHECK (topic IN ('lost', 'undeployed', 'risk', 'blocked', 'enrollment', 'digest')), 
	CONSTRAINT message_level CHECK (level IN ('info', 'warning', 'error')), 
	CONSTRAINT message_signs CHECK (place >= 0 AND tries >= 0), 
	CONSTRAINT message_is_sent_once CHECK (send_at IS NULL OR sent_at IS NULL)
);
CREATE TABLE past (
	voice_pk INTEGER NOT NULL, 
	cost_micros INTEGER NOT NULL, 
	possible_cost_micros INTEGER NOT NULL, 
	PRIMARY KEY (voice_pk), 
	CONSTRAINT past_signs CHECK (cost_micros >= 0 AND possible_cost_micros >= 0), 
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
CREATE TABLE removal (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	voice_id VARCHAR, 
	status VARCHAR(16) NOT NULL, 
	at DATETIME NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE tally (
	kind VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	ended INTEGER NOT NULL, 
	PRIMARY KEY (kind, state), 
	CONSTRAINT tally_sign CHECK (ended >= 0), 
	CONSTRAINT tally_kind CHECK (kind IN ('keepalive', 'clone', 'design', 'control')), 
	CONSTRAINT tally_state CHECK (state IN ('intent', 'running', 'success', 'failed', 'refused', 'unknown'))
);
CREATE TABLE task (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	voice_pk INTEGER, 
	model VARCHAR NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	spoken VARCHAR, 
	task_id VARCHAR, 
	token_digest VARCHAR, 
	sent_at DATETIME NOT NULL, 
	created_at DATETIME, 
	finished_at DATETIME, 
	next_poll_at DATETIME, 
	polls INTEGER NOT NULL, 
	code VARCHAR, 
	message VARCHAR, 
	cost_micros INTEGER, 
	possible_cost_micros INTEGER, 
	CONSTRAINT task_polls_sign CHECK (polls >= 0), 
	CONSTRAINT task_running_is_polled CHECK (state <> 'running' OR (task_id IS NOT NULL AND next_poll_at IS NOT NULL)), 
	CONSTRAINT task_kind CHECK (kind IN ('keepalive', 'clone', 'design', 'control')), 
	CONSTRAINT task_state CHECK (state IN ('intent', 'running', 'success', 'failed', 'refused', 'unknown')), 
	FOREIGN KEY(voice_pk) REFERENCES voice (id) ON DELETE CASCADE
);
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
	held_at DATETIME, 
	restored_at DATETIME, 
	remade_at DATETIME, 
	CONSTRAINT voice_name_is_unique UNIQUE (name), 
	CONSTRAINT voice_id_is_unique UNIQUE (model, voice_id), 
	CONSTRAINT voice_name_length CHECK (length(name) BETWEEN 1 AND 64), 
	CONSTRAINT voice_failures_sign CHECK (failures >= 0), 
	CONSTRAINT voice_ok_has_id CHECK (status <> 'OK' OR voice_id IS NOT NULL), 
	CONSTRAINT voice_origin CHECK (origin IN ('imported', 'clone', 'design')), 
	CONSTRAINT voice_status CHECK (status IN ('NEW', 'DEPLOYING', 'OK', 'UNDEPLOYED', 'FAILED', 'UNKNOWN', 'LOST'))
);
CREATE INDEX voice_by_next_at ON voice (next_at);
CREATE INDEX voice_by_anchor ON voice (anchored_at) WHERE next_at IS NOT NULL;
CREATE INDEX voice_suspected ON voice (model) WHERE suspected_at IS NOT NULL AND controlled_at IS NULL;
CREATE INDEX task_by_voice ON task (voice_pk, id);
CREATE INDEX task_open ON task (state) WHERE state IN ('intent', 'running');
CREATE INDEX task_by_next_poll ON task (next_poll_at) WHERE state = 'running';
CREATE UNIQUE INDEX task_by_token ON task (token_digest) WHERE token_digest IS NOT NULL;
CREATE INDEX history_by_voice ON history (voice_pk, id);
CREATE INDEX history_unlogged ON history (id) WHERE logged = 0;
CREATE UNIQUE INDEX alert_open_of_voice ON alert (voice_pk, kind) WHERE ended_at IS NULL AND voice_pk IS NOT NULL;
CREATE UNIQUE INDEX alert_open_of_model ON alert (model) WHERE ended_at IS NULL AND voice_pk IS NULL;
CREATE INDEX alert_by_tell_at ON alert (tell_at) WHERE tell_at IS NOT NULL;
CREATE INDEX alert_by_send_at ON alert (send_at) WHERE send_at IS NOT NULL;
CREATE INDEX message_to_send ON message (place) WHERE send_at IS NOT NULL;
CREATE INDEX audio_by_voice ON audio (voice_pk);
CREATE INDEX audio_by_next_at ON audio (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX task_open_of_voice ON task (voice_pk) WHERE state IN ('intent', 'running');
INSERT INTO voice (id, name, model, voice_id, origin, status, paused, recipe, created_at, last_used_at, enrolled_at, anchored_at, next_at, failures, last_error, suspected_at, controlled_at, held_at, restored_at, remade_at) VALUES
 (1, 'narrator', 'cosyvoice-3-flash', 'id-narrator', 'imported', 'OK', FALSE, NULL, '2026-04-01 08:00:00.000000', '2026-05-01 12:00:00.000000', NULL, '2026-05-01 12:00:00.000000', '2026-05-03 18:00:00.000000', 0, NULL, NULL, NULL, NULL, NULL, NULL),
 (2, 'guide', 'cosyvoice-3-flash', NULL, 'design', 'FAILED', FALSE, '{"prefix": "guide01", "prompt": "warm", "preview_text": "Hello."}', '2026-04-02 08:00:00.000000', NULL, NULL, '2026-04-02 08:00:00.000000', NULL, 1, 'invalid_prompt: no such voice', NULL, NULL, NULL, NULL, NULL),
 (3, 'host', 'cosyvoice-3-flash', 'id-host', 'clone', 'LOST', TRUE, '{"prefix": "host01", "audio_url": "https://example.com/a.wav"}', '2026-04-03 08:00:00.000000', '2026-04-20 08:00:00.000000', '2026-04-03 08:05:00.000000', '2026-04-20 08:00:00.000000', NULL, 7, '404: voice not found', '2026-04-26 08:00:00.000000', '2026-04-26 09:00:00.000000', NULL, '2026-04-21 08:00:00.000000', '2026-04-22 08:00:00.000000'),
 (4, 'waiting', 'cosyvoice-3-flash', NULL, 'clone', 'NEW', FALSE, '{"prefix": "wait01", "audio_url": "https://example.com/b.wav"}', '2026-05-01 11:00:00.000000', NULL, NULL, '2026-05-01 11:00:00.000000', '2026-05-02 00:00:00.000000', 0, NULL, NULL, NULL, '2026-05-01 11:01:00.000000', NULL, NULL),
 (5, 'removed', 'cosyvoice-3-flash', 'id-removed', 'imported', 'OK', FALSE, NULL, '2026-05-01 11:00:00.000000', NULL, NULL, '2026-05-01 11:00:00.000000', NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO task (id, voice_pk, model, kind, state, spoken, task_id, token_digest, sent_at, created_at, finished_at, next_poll_at, polls, code, message, cost_micros, possible_cost_micros) VALUES
 (1, 1, 'cosyvoice-3-flash', 'keepalive', 'success', 'id-narrator', 'task_1', NULL, '2026-05-01 12:00:00.000000', '2026-05-01 12:00:01.000000', '2026-05-01 12:00:05.000000', NULL, 2, NULL, NULL, 60, NULL),
 (2, 2, 'cosyvoice-3-flash', 'design', 'failed', NULL, 'task_2', NULL, '2026-04-02 08:00:00.000000', '2026-04-02 08:00:01.000000', '2026-04-02 08:02:00.000000', NULL, 5, 'invalid_prompt', 'no such voice', 30000, NULL),
 (3, 3, 'cosyvoice-3-flash', 'clone', 'unknown', NULL, NULL, NULL, '2026-04-03 08:00:00.000000', NULL, '2026-04-03 08:01:00.000000', NULL, 0, 'no answer', 'the gateway did not answer', NULL, 2000),
 (4, NULL, 'cosyvoice-3-flash', 'control', 'refused', 'longanyang', NULL, NULL, '2026-04-30 08:00:00.000000', NULL, '2026-04-30 08:00:01.000000', NULL, 0, '500', 'server error', NULL, NULL),
 (5, 1, 'cosyvoice-3-flash', 'keepalive', 'running', 'id-narrator', 'task_5', NULL, '2026-05-01 12:30:00.000000', '2026-05-01 12:30:01.000000', NULL, '2026-05-01 12:30:10.000000', 1, NULL, NULL, 60, NULL),
 (6, 4, 'cosyvoice-3-flash', 'clone', 'intent', NULL, NULL, 'digest-6', '2026-05-01 12:31:00.000000', NULL, NULL, NULL, 0, NULL, NULL, NULL, 2000);
INSERT INTO ledger (day, kind, cost_micros, possible_cost_micros) VALUES ('2026-05-01', 'keepalive', 120, 0), ('2026-04-02', 'design', 30000, 0), ('2026-04-03', 'clone', 0, 2000);
INSERT INTO tally (kind, state, ended) VALUES ('keepalive', 'success', 41), ('design', 'failed', 1), ('clone', 'unknown', 1);
INSERT INTO balance (id, micros, told_at) VALUES (1, 12500000, '2026-05-01 06:00:00.000000');
INSERT INTO history (id, voice_pk, at, event, level, detail, logged) VALUES
 (1, 1, '2026-04-01 08:00:00.000000', 'voice.registered', 'info', '{"voice_id": "id-narrator"}', TRUE),
 (2, 1, '2026-05-01 12:00:05.000000', 'keepalive.succeeded', 'info', NULL, FALSE);
INSERT INTO past (voice_pk, cost_micros, possible_cost_micros) VALUES (1, 2400, 60);
INSERT INTO removal (id, name, voice_id, status, at) VALUES (1, 'forgotten', 'id-forgotten', 'OK', '2026-05-01 10:00:00.000000');
INSERT INTO breaker (model, run, last_voice_pk, opened_at, cause, probes, probe_at, judged_at, distrusted) VALUES ('cosyvoice-3-flash', 3, 1, '2026-05-01 12:20:00.000000', '402: balance', 2, '2026-05-01 12:40:00.000000', '2026-05-01 12:30:00.000000', TRUE);
INSERT INTO alert (id, kind, voice_pk, model, level, cause, since, told, tell_at, ended_at, send_at, sent_at) VALUES
 (1, 'lost', 3, 'cosyvoice-3-flash', 'error', '404: voice not found', '2026-04-26 09:00:00.000000', 4, '2026-05-02 09:00:00.000000', NULL, '2026-05-02 09:00:00.000000', '2026-05-01 09:00:00.000000'),
 (2, 'blocked', NULL, 'cosyvoice-3-flash', 'error', '402: balance', '2026-05-01 12:20:00.000000', 1, '2026-05-02 12:20:00.000000', NULL, NULL, NULL);
INSERT INTO message (id, topic, place, level, title, body, made_at, tries, send_at, sent_at) VALUES (1, 'lost', 0, 'error', 'host is lost', 'The gateway no longer knows it.', '2026-05-01 09:00:00.000000', 1, '2026-05-01 13:00:00.000000', NULL);
INSERT INTO audio (id, voice_pk, kind, voice_id, url, ends_at, next_at, failures, file, error) VALUES (1, 3, 'preview', 'id-host', 'https://example.com/p.mp3', '2026-04-04 08:00:00.000000', NULL, 0, '1.mp3', NULL);
INSERT INTO keeper (keeper, version, once, started_at, last_pass_at, alive_until, share, interval_s) VALUES
 ('1@old', '0.8.0', FALSE, '2026-04-01 08:00:00.000000', '2026-04-30 08:00:00.000000', NULL, 0.0, 259200.0),
 ('2@here', '0.9.0', FALSE, '2026-04-30 09:00:00.000000', '2026-05-01 12:31:00.000000', '2026-05-01 12:32:20.000000', 1.0, 259200.0);
DELETE FROM voice WHERE id = 5;
COMMIT;
