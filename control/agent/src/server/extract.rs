//! The parts of a request, so that one which cannot be read is refused as everything else is: with a [`Problem`].

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt};
use schemars::SchemaGenerator;
use serde::de::DeserializeOwned;
use serde_json::Value;
use weft_api::{LARGEST_BODY, Problem, ProblemKind};
use weft_model::{InterfaceName, NameError, PortName, PortgroupName, VmkName, VswitchName};

/// A problem as an answer.
pub(super) struct Refusal(pub(super) Problem);

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

/// A request that cannot be meant.
pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Invalid, message)
}

/// Where everything that a request may say is told.
pub(super) const SEE_THE_DOCUMENT: &str = "GET /v1/openapi.json tells what the API takes";

/// The parameters of the query; those that the type does not have are refused.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        let query = serde_html_form::Deserializer::from_bytes(query.as_bytes());
        serde_path_to_error::deserialize(query)
            .map(Self)
            .map_err(|error| {
                let (parameter, error) = (error.path().to_string(), error.into_inner());
                let message =
                    format!("the parameter {parameter} of the query cannot be read: {error}");
                let problem = invalid(message).in_field(parameter);
                problem.with_remedy(SEE_THE_DOCUMENT).into()
            })
    }
}

/// The names in the path.
pub(super) struct Named<T>(pub(super) T);

impl<T: Names, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Path(names) = read.map_err(|error| {
            invalid(format!("the path cannot be read: {}", error.body_text()))
                .with_remedy("escape names as UTF-8 by RFC 3986 §2.1")
        })?;
        let names: Vec<_> = names.iter().map(|(_, name)| name.as_str()).collect();
        Ok(Self(T::parse(&names)?))
    }
}

/// Names as they stand in a path.
pub(super) trait Names: Sized {
    /// The names, in their order.
    fn parse(names: &[&str]) -> Result<Self, Problem>;

    /// Their schemas, in their order.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Value>;
}

fn one<N: std::str::FromStr<Err = NameError>>(name: Option<&&str>) -> Result<N, Problem> {
    Ok(name.copied().unwrap_or_default().parse()?)
}

macro_rules! names {
    ($($type:ty),*) => {
        $(impl Names for $type {
            fn parse(names: &[&str]) -> Result<Self, Problem> {
                one(names.first())
            }

            fn schemas(generator: &mut SchemaGenerator) -> Vec<Value> {
                vec![generator.subschema_for::<Self>().to_value()]
            }
        })*
    };
}

names!(VswitchName, PortgroupName, PortName, VmkName);

impl Names for u64 {
    fn parse(names: &[&str]) -> Result<Self, Problem> {
        let number = names.first().copied().unwrap_or_default();
        number.parse().map_err(|_| {
            let number: String = number.chars().take(100).collect();
            invalid(format!("{number:?} is not a number")).with_remedy(SEE_THE_DOCUMENT)
        })
    }

    fn schemas(generator: &mut SchemaGenerator) -> Vec<Value> {
        vec![generator.subschema_for::<Self>().to_value()]
    }
}

impl Names for (VswitchName, InterfaceName) {
    fn parse(names: &[&str]) -> Result<Self, Problem> {
        Ok((one(names.first())?, one(names.get(1))?))
    }

    fn schemas(generator: &mut SchemaGenerator) -> Vec<Value> {
        let vswitch = generator.subschema_for::<VswitchName>();
        let interface = generator.subschema_for::<InterfaceName>();
        vec![vswitch.to_value(), interface.to_value()]
    }
}

/// The body, read with the same rules and the same errors as a manifest.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes: Bytes = request.extract().await.map_err(|error: BytesRejection| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let most = LARGEST_BODY >> 20;
                return invalid(format!("the body is larger than {most} MiB"))
                    .with_remedy("send less at a time");
            }
            invalid(format!("the body cannot be read: {}", error.body_text()))
                .with_remedy("send it again")
        })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| invalid("the body is not UTF-8").with_remedy("send JSON or YAML"))?;
        let read = weft_model::from_text(text).map_err(|error| {
            let suggestion = error.suggestion.clone();
            let problem = invalid(error.to_string()).with_remedy(SEE_THE_DOCUMENT);
            Problem {
                suggestion,
                ..problem
            }
        })?;
        Ok(Self(read))
    }
}
