//! What a handler says of itself: the types of its parts and of its answer, for the OpenAPI document.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::handler::Handler;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use weft_api::ProblemKind;

use super::caller::CalledBy;
use super::extract::{Asked, Body, Named, Names, Refusal};
use crate::host::Host;

/// A handler whose parts and answer are known. The type parameters are axum's, and the type of the answer.
pub(super) trait Operation<Parts, A>: Handler<Parts, Arc<Host>> {
    /// Says what it takes and answers.
    fn describe(description: &mut Description<'_>);
}

/// One operation, as far as it has been described.
pub(super) struct Description<'a> {
    /// The names in its path, in their order.
    pub(super) names: Vec<&'a str>,
    /// Schemas of what is read.
    pub(super) requests: &'a mut SchemaGenerator,
    /// Schemas of what is answered.
    pub(super) answers: &'a mut SchemaGenerator,
    /// Parameter objects (OpenAPI 3.1 §4.8.12).
    pub(super) parameters: Vec<Value>,
    /// The schema of the body.
    pub(super) body: Option<Value>,
    /// Schemas of the answer by media type.
    pub(super) answer: Vec<(&'static str, Value)>,
    /// What it may refuse with.
    pub(super) problems: BTreeSet<u16>,
}

impl Description<'_> {
    fn may_refuse(&mut self, kinds: &[ProblemKind]) {
        let statuses = kinds.iter().map(|kind| kind.http_status());
        self.problems.extend(statuses);
    }
}

/// A part of a request.
pub(super) trait Part {
    /// Says what it takes.
    fn describe(description: &mut Description<'_>);
}

impl Part for State<Arc<Host>> {
    fn describe(_: &mut Description<'_>) {}
}

impl Part for CalledBy {
    fn describe(description: &mut Description<'_>) {
        description.may_refuse(&[ProblemKind::NotPermitted]);
    }
}

impl<T: Names> Part for Named<T> {
    fn describe(description: &mut Description<'_>) {
        let schemas = T::schemas(description.requests);
        for (name, schema) in description.names.iter().zip(schemas) {
            let parameter = json!({"name": name, "in": "path", "required": true, "schema": schema});
            description.parameters.push(parameter);
        }
        description.may_refuse(&[ProblemKind::Invalid, ProblemKind::NotFound]);
    }
}

/// The fields of the type are the parameters.
impl<T: JsonSchema> Part for Asked<T> {
    fn describe(description: &mut Description<'_>) {
        let schema = T::json_schema(description.requests).to_value();
        let empty = serde_json::Map::new();
        let fields = schema["properties"].as_object().unwrap_or(&empty);
        for (name, field) in fields {
            let mut field = field.clone();
            let words = field
                .as_object_mut()
                .and_then(|field| field.remove("description"));
            let mut parameter = json!({"name": name, "in": "query", "schema": without_null(field)});
            if let Some(words) = words {
                parameter["description"] = words;
            }
            description.parameters.push(parameter);
        }
        description.may_refuse(&[ProblemKind::Invalid, ProblemKind::NotFound]);
        if fields.contains_key("dryRun") {
            description.may_refuse(&[ProblemKind::Conflict, ProblemKind::TimedOut]);
        }
    }
}

/// A parameter is absent, and never `null`.
fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema["type"].as_array() {
        let types: Vec<_> = types
            .iter()
            .filter(|name| **name != "null")
            .cloned()
            .collect();
        if let [one] = types.as_slice() {
            schema["type"] = one.clone();
        }
    }
    let alternatives = schema["anyOf"].as_array().cloned().unwrap_or_default();
    match alternatives.as_slice() {
        [one, null] if *null == json!({"type": "null"}) => one.clone(),
        _ => schema,
    }
}

impl<T: JsonSchema> Part for Body<T> {
    fn describe(description: &mut Description<'_>) {
        let schema = description.requests.subschema_for::<T>();
        description.body = Some(schema.to_value());
        description.may_refuse(&[ProblemKind::Invalid, ProblemKind::NotFound]);
    }
}

/// What a handler answers with, unless it refuses.
pub(super) trait Answer {
    /// Says what it is.
    fn describe(description: &mut Description<'_>);
}

impl<T: JsonSchema> Answer for Json<T> {
    fn describe(description: &mut Description<'_>) {
        let schema = description.answers.subschema_for::<T>();
        description
            .answer
            .push(("application/json", schema.to_value()));
    }
}

macro_rules! operations {
    ($($($part:ident)*;)*) => {
        $(
            impl<F, Fut, A, M, $($part),*> Operation<(M, $($part,)*), A> for F
            where
                F: Fn($($part),*) -> Fut + Handler<(M, $($part,)*), Arc<Host>>,
                Fut: Future<Output = Result<A, Refusal>>,
                A: Answer,
                $($part: Part),*
            {
                fn describe(description: &mut Description<'_>) {
                    $($part::describe(description);)*
                    A::describe(description);
                    description.may_refuse(&[ProblemKind::Failed]);
                }
            }
        )*
    };
}

operations! {
    One;
    One Two;
    One Two Three;
    One Two Three Four;
    One Two Three Four Five;
}
