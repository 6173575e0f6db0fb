-- What the spans of an execution belong to, as W3C has it: {"traceparent": "…"}
alter table execution add column trace_context text;
