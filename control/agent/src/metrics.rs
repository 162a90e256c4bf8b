//! Metrics as text for Prometheus and its relatives.
//!
//! Names follow Prometheus' own guide: the prefix `weft_`, base units, `_total` behind counters. Everything is read anew for each
//! scrape, so nothing is counted twice and what is not there has no series.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use weft_model::HostName;

/// The labels of one series.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Metrics of one name.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    name: String,
    help: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    series: Vec<(Labels, f64)>,
}

impl Family {
    /// Something that only rises. The text adds the unit and `_total` to its name.
    pub(crate) fn counter(name: impl Into<String>, unit: Option<Unit>, help: &'static str) -> Self {
        Self::new(name, unit, help, MetricType::Counter)
    }

    /// Something that rises and falls.
    pub(crate) fn gauge(name: impl Into<String>, help: &'static str) -> Self {
        Self::new(name, None, help, MetricType::Gauge)
    }

    /// Something that is told by its labels alone. The text adds `_info` to its name.
    pub(crate) fn info(name: impl Into<String>, help: &'static str, labels: Labels) -> Self {
        let mut family = Self::new(name, None, help, MetricType::Info);
        family.add(labels, 1.0);
        family
    }

    fn new(
        name: impl Into<String>,
        unit: Option<Unit>,
        help: &'static str,
        kind: MetricType,
    ) -> Self {
        Self {
            name: name.into(),
            help,
            unit,
            kind,
            series: Vec::new(),
        }
    }

    /// Adds a series.
    pub(crate) fn add(&mut self, labels: Labels, value: f64) {
        self.series.push((labels, value));
    }
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What a client is given that accepts this.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What one scrape found.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// The label `host` of everything.
    pub(crate) host: HostName,
    /// When the agent started, in seconds since 1970.
    pub(crate) started: f64,
    /// Everything else. These names get the prefix.
    pub(crate) families: Vec<Family>,
}

impl Scrape {
    /// The text.
    pub(crate) fn text(self, format: Format) -> String {
        let host = [("host".into(), self.host.to_string().into())];
        let mut registry = Registry::with_labels(host.into_iter());
        let mut process = Family::new(
            "process_start_time",
            Some(Unit::Seconds),
            "When the agent started, in seconds since 1970",
            MetricType::Gauge,
        );
        process.add(Labels::new(), self.started);
        // Other exporters have it under this very name.
        registry.register_collector(Box::new(Families(vec![process])));
        registry
            .sub_registry_with_prefix("weft")
            .register_collector(Box::new(Families(self.families)));
        let mut text = String::new();
        let written = match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &registry),
            Format::OpenMetrics => text::encode(&mut text, &registry),
        };
        written.expect("writing to a string does not fail");
        text
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let Family {
                name,
                help,
                unit,
                kind,
                series,
            } = family;
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            for (labels, value) in series {
                match kind {
                    MetricType::Info => family.encode_info(labels)?,
                    MetricType::Counter => family
                        .encode_family(labels)?
                        .encode_counter::<Labels, f64, f64>(value, None::<&Exemplar<_, _>>)?,
                    _ => family.encode_family(labels)?.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape() -> Scrape {
        let mut frames = Family::counter("port_receive_packets", None, "Frames");
        frames.add(vec![("port", "a \"b\\".to_owned())], 1e15);
        let mut busy = Family::counter("poll_busy", Some(Unit::Seconds), "Time");
        busy.add(Labels::new(), 0.5);
        Scrape {
            host: "esxi01".parse().unwrap(),
            started: 1.5,
            families: vec![
                frames,
                busy,
                Family::info("build", "The agent", vec![("version", "1".to_owned())]),
            ],
        }
    }

    #[test]
    fn both_formats_name_units_and_totals() {
        let text = scrape().text(Format::Prometheus);
        for line in [
            "process_start_time_seconds{host=\"esxi01\"} 1.5",
            "# TYPE weft_port_receive_packets_total counter",
            "weft_port_receive_packets_total{host=\"esxi01\",port=\"a \\\"b\\\\\"} 1000000000000000.0",
            "weft_poll_busy_seconds_total{host=\"esxi01\"} 0.5",
            "weft_build_info{host=\"esxi01\",version=\"1\"} 1",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        let text = scrape().text(Format::OpenMetrics);
        assert!(
            text.contains("# UNIT weft_poll_busy_seconds seconds\n"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_client_gets_what_it_accepts() {
        // What Prometheus 2.42 sends.
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
        assert_eq!(Format::accepted(None), Format::Prometheus);
    }
}
