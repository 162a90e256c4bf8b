//! The table of routes. An entry makes a route, and its part of the OpenAPI document from the types of its handler, so that
//! neither can be without the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, on};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use weft_api::{Problem, ProblemKind};

use super::operation::{Description, Operation};
use crate::host::Host;

/// Routes, and the document about them.
pub(super) struct Table {
    router: Router<Arc<Host>>,
    paths: Map<String, Value>,
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Table {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            router: Router::new(),
            paths: Map::new(),
            requests: settings().for_deserialize().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    /// What is read at a path. `summary` is a sentence of the document.
    pub(super) fn get<P: 'static, A>(
        self,
        path: &str,
        summary: &str,
        handler: impl Operation<P, A>,
    ) -> Self {
        self.with(MethodFilter::GET, "get", path, summary, handler)
    }

    /// What is made at a path.
    pub(super) fn post<P: 'static, A>(
        self,
        path: &str,
        summary: &str,
        handler: impl Operation<P, A>,
    ) -> Self {
        self.with(MethodFilter::POST, "post", path, summary, handler)
    }

    /// What is made so at a path, whether or not it was there.
    pub(super) fn put<P: 'static, A>(
        self,
        path: &str,
        summary: &str,
        handler: impl Operation<P, A>,
    ) -> Self {
        self.with(MethodFilter::PUT, "put", path, summary, handler)
    }

    /// What is changed at a path.
    pub(super) fn patch<P: 'static, A>(
        self,
        path: &str,
        summary: &str,
        handler: impl Operation<P, A>,
    ) -> Self {
        self.with(MethodFilter::PATCH, "patch", path, summary, handler)
    }

    /// What is deleted at a path.
    pub(super) fn delete<P: 'static, A>(
        self,
        path: &str,
        summary: &str,
        handler: impl Operation<P, A>,
    ) -> Self {
        self.with(MethodFilter::DELETE, "delete", path, summary, handler)
    }

    fn with<P: 'static, A, H: Operation<P, A>>(
        mut self,
        filter: MethodFilter,
        method: &str,
        path: &str,
        summary: &str,
        handler: H,
    ) -> Self {
        self.describe::<P, A, H>(method, path, summary);
        Self {
            router: self.router.route(path, on(filter, handler)),
            ..self
        }
    }

    fn describe<P, A, H: Operation<P, A>>(&mut self, method: &str, path: &str, summary: &str) {
        let segments = path.split('/').skip(2);
        let names = segments
            .clone()
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let mut description = Description {
            names: names.collect(),
            requests: &mut self.requests,
            answers: &mut self.answers,
            parameters: Vec::new(),
            body: None,
            answer: Vec::new(),
            problems: BTreeSet::new(),
        };
        H::describe(&mut description);
        let Description {
            parameters,
            body,
            answer,
            problems,
            ..
        } = description;
        let content = answer
            .into_iter()
            .map(|(media, schema)| (media.to_owned(), json!({"schema": schema})));
        let mut responses = Map::new();
        let content: Map<_, _> = content.collect();
        responses.insert(
            "200".to_owned(),
            json!({"description": "Done.", "content": content}),
        );
        for status in problems {
            let reference = format!("#/components/responses/{}", response_name(status));
            responses.insert(status.to_string(), json!({"$ref": reference}));
        }
        let identifier: String = std::iter::once(method.to_owned())
            .chain(segments.clone().map(capitalised))
            .collect();
        let subject = segments.clone().next().unwrap_or_default();
        let mut operation = json!({
            "operationId": identifier,
            "summary": summary,
            "tags": [subject.split('.').next()],
            "responses": responses,
        });
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(schema) = body {
            // JSON is YAML too.
            let content = json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}});
            operation["requestBody"] = json!({"required": true, "content": content});
        }
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation;
    }

    /// The routes.
    pub(super) fn into_router(self) -> Router<Arc<Host>> {
        self.router
    }

    /// The OpenAPI 3.1 document.
    pub(super) fn into_document(mut self) -> Value {
        let problem = self.answers.subschema_for::<Problem>();
        let mut paths = Value::Object(self.paths);
        let answers = self.answers.take_definitions(true);
        let requests = self.requests.take_definitions(true);
        let schemas = merged(answers, requests, &mut paths);
        let responses = ProblemKind::ALL.map(|kind| {
            let content = json!({"application/json": {"schema": problem}});
            let name = response_name(kind.http_status());
            (
                name.to_owned(),
                json!({"description": kind.meaning(), "content": content}),
            )
        });
        let responses: Map<_, _> = responses.into_iter().collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "weft agent",
                "summary": "The switches of one host.",
                "description": "HTTP/1.1 on a Unix socket, /run/weft/agent.sock unless the agent was told another. Whoever may \
                    open the socket may do everything. Every answer that is not a success is a Problem.",
                "version": env!("CARGO_PKG_VERSION"),
                "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
            },
            "servers": [{"url": "http://localhost", "description": "Over the socket, where the host's name says nothing."}],
            "paths": paths,
            "components": {"schemas": schemas, "responses": responses},
        })
    }
}

fn capitalised(segment: &str) -> String {
    let words = segment.split(|char: char| !char.is_ascii_alphanumeric());
    let upper = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    words.filter(|word| !word.is_empty()).map(upper).collect()
}

/// The name of the response with a problem of this status.
fn response_name(status: u16) -> &'static str {
    let kinds = ProblemKind::ALL.into_iter();
    let mut kinds = kinds.filter(|kind| kind.http_status() == status);
    kinds.next().map_or("failed", ProblemKind::name)
}

/// The schemas of answers and of requests. A type that is read in another way than it is written, as where a default may be
/// left out, has two: the one of requests ends with `Request`, and so does every one that refers to it.
fn merged(
    answers: Map<String, Value>,
    mut requests: Map<String, Value>,
    paths: &mut Value,
) -> Map<String, Value> {
    let differs =
        |name: &String, schema: &Value| answers.get(name).is_some_and(|other| other != schema);
    let mut renamed: BTreeSet<String> = requests
        .iter()
        .filter(|(name, schema)| differs(name, schema))
        .map(|(name, _)| name.clone())
        .collect();
    loop {
        let before = renamed.len();
        for (name, schema) in &requests {
            if answers.contains_key(name) && refers_to(schema, &renamed) {
                renamed.insert(name.clone());
            }
        }
        if renamed.len() == before {
            break;
        }
    }
    requests
        .values_mut()
        .for_each(|schema| rename(schema, &renamed));
    let operations = paths
        .as_object_mut()
        .into_iter()
        .flat_map(|paths| paths.values_mut());
    let operations = operations
        .filter_map(Value::as_object_mut)
        .flat_map(|methods| methods.values_mut());
    for operation in operations {
        for part in ["parameters", "requestBody"] {
            if let Some(part) = operation.get_mut(part) {
                rename(part, &renamed);
            }
        }
    }
    let mut all = answers;
    for (name, schema) in requests {
        let name = if renamed.contains(&name) {
            name + "Request"
        } else {
            name
        };
        let other = all.insert(name, schema.clone());
        debug_assert!(
            other.is_none_or(|other| other == schema),
            "two types have one name"
        );
    }
    all
}

const SCHEMAS: &str = "#/components/schemas/";

fn refers_to(schema: &Value, names: &BTreeSet<String>) -> bool {
    match schema {
        Value::String(text) => text
            .strip_prefix(SCHEMAS)
            .is_some_and(|name| names.contains(name)),
        Value::Array(items) => items.iter().any(|item| refers_to(item, names)),
        Value::Object(fields) => fields.values().any(|field| refers_to(field, names)),
        _ => false,
    }
}

fn rename(schema: &mut Value, names: &BTreeSet<String>) {
    match schema {
        Value::String(text)
            if text
                .strip_prefix(SCHEMAS)
                .is_some_and(|name| names.contains(name)) =>
        {
            *text += "Request";
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, names)),
        _ => {}
    }
}
