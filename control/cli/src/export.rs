//! `weft export`: the configuration as a manifest.

use clap::Args;

use crate::Context;
use crate::failure::Failure;
use crate::output::Format;

/// Print the configuration as a manifest, sorted: equal configurations give equal bytes
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft export > host.yaml
  weft export -o json")]
pub(crate) struct Arguments {}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let manifest = context.client.export().await?;
    let text = match context.output.format() {
        Format::Json => manifest.to_json(),
        Format::Table | Format::Wide | Format::Yaml => manifest.to_yaml(),
    };
    context.output.text(&text)
}
