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
  weft export -o json
  weft export --generation 7             as it was then; see weft history")]
pub(crate) struct Arguments {
    /// The configuration of an earlier generation
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<(), Failure> {
    let manifest = match arguments.generation {
        None => context.client.export().await?,
        Some(number) => context.client.generation(number).await?,
    };
    let text = match context.output.format() {
        Format::Json => manifest.to_json(),
        Format::Table | Format::Wide | Format::Yaml => manifest.to_yaml(),
    };
    context.output.text(&text)
}
