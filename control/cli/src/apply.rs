//! `weft apply` and `weft diff`: a manifest as the whole configuration, in one step.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use weft_api::{ApplyOptions, ApplyResult, ProblemKind};
use weft_model::Outcome;

use crate::Context;
use crate::change::ChangeFlags;
use crate::failure::Failure;
use crate::manifest::ManifestFile;
use crate::output::{Style, counted};
use crate::progress::Progress;

/// Make the configuration that of a manifest, whole or not at all
///
/// A section that the manifest has says all there is of its kind: what it does not name is removed. About a section that it
/// does not have it says nothing.
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft apply -f host.yaml --dry-run      what would change; the same as weft diff -f host.yaml
  weft apply -f host.yaml
  weft apply -f host.yaml --confirm 60s  taken back after a minute unless you say 'weft confirm'
  weft export | weft apply -f -          unchanged

A manifest with every field:
  vswitches:
    - name: vSwitch1
      uplinks: [eth1]                    # none by default: an isolated switch
      mtu: 1500                          # 1280-9000
      security: {promiscuous: reject, macChanges: accept, forgedTransmits: accept}
      teaming: {policy: srcid, active: all, standby: [], failback: true, notify: true, upDelay: 100ms, lbtPeriod: 30s, lbtThreshold: 75}
      shaping: {in: off, out: off}       # or {average: 100mbit, peak: 200mbit, burst: 100KiB}
      macLearning: {enabled: false, limit: 4096, beyond: allow, flood: true, age: 5m}
      bpduFilter: disabled               # or enabled
      netflow: disabled                  # or enabled
      portgroups:
        - name: Lab
          vlan: 0                        # 0: no tag; 1-4094: the switch tags; 4095: the guests tag
          security: {promiscuous: inherit, macChanges: inherit, forgedTransmits: inherit}
          teaming: {policy: inherit}     # and so on: every leaf that a switch has
          shaping: {in: inherit}
          macLearning: {enabled: inherit}
          bpduFilter: inherit
          netflow: inherit
  ports:
    - name: MyVM1
      portgroup: Lab
      vhostUser: {socket: /run/vms/MyVM1.sock, role: client}                # or server
      mac: \"02:00:00:00:00:01\"           # by default the first that the guest sends from
      link: up                           # or down: its cable is pulled
      block: false
    - {name: MyVM2, portgroup: Lab, veth: p-MyVM2, engine: af-xdp}          # or packet
    - {name: host0, portgroup: Lab, tap: weft0}
  vmks:
    - {name: vmk0, portgroup: Lab, ip: 10.0.0.11/24, mtu: 1500}             # the host's own interface; mac, link, block as of ports
  netflow:
    - vswitch: vSwitch1
      collectors: [\"10.8.0.9:2055\"]    # or [\"[fd00::9]:2055\"]; up to eight
      version: ipfix                     # or 9, 5
      active: 60s                        # 1s-1h
      idle: 15s                          # 1s-10m
      sampling: 0                        # 1-16384: one packet in so many
      domain: 7                          # by default one that follows from the names of host and switch
      sourceIp: 10.8.0.1                 # by default that of the way to the collector
      internalOnly: false
      direction: both                    # or in, out
      flows: 65536                       # 1000-1000000, of each poll thread

Required are names, the port group of a port, one of vhostUser, veth and tap, and the collectors of a switch. The other fields have their default here, \
unless they say another. 'weft export' prints the manifest of what there is. For editors there is a JSON Schema, \
docs/schema/manifest.json, which the package installs below /usr/share/doc/weft.")]
pub(crate) struct Apply {
    #[command(flatten)]
    manifest: ManifestFile,
    #[command(flatten)]
    flags: ApplyFlags,
}

/// Show what applying a manifest would change
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft diff -f host.yaml
  weft diff -f host.yaml -o json")]
pub(crate) struct Diff {
    #[command(flatten)]
    manifest: ManifestFile,
}

/// The flags of verbs that make many changes together.
#[derive(Args)]
pub(crate) struct ApplyFlags {
    /// Take the changes back after this time (1s to 24h) unless 'weft confirm' is said
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    confirm: Option<u64>,

    /// Do not ask before something is removed or interrupted (scripts, without a terminal, are never asked); take interfaces even if
    /// they carry addresses or your own connection
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    change: ChangeFlags,
}

impl ApplyFlags {
    pub(crate) fn options(&self) -> ApplyOptions {
        let options = self.change.options();
        ApplyOptions {
            dry_run: options.dry_run,
            wait: options.wait,
            yes: self.yes,
            generation: None,
            confirm: self.confirm,
        }
    }
}

/// A time of whole seconds, such as `90s`, `5m` or `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it as 60s, 5m or 1h"))?;
    let seconds = time.as_secs();
    if time.subsec_nanos() == 0 && (1..=ApplyOptions::LONGEST_CONFIRM).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("it is a time of whole seconds from 1s to 24h".to_owned())
    }
}

pub(crate) async fn apply(arguments: Apply, context: &Context) -> Result<(), Failure> {
    let Apply { manifest, flags } = arguments;
    let manifest = manifest.read()?;
    let change = async |options| {
        let _progress = Progress::of("applying the manifest");
        Ok(context.client.apply(&manifest, options).await?)
    };
    make(context, flags.options(), change).await
}

pub(crate) async fn diff(arguments: Diff, context: &Context) -> Result<(), Failure> {
    let manifest = arguments.manifest.read()?;
    let options = ApplyOptions {
        dry_run: true,
        yes: true,
        ..ApplyOptions::default()
    };
    let progress = Progress::of("comparing the manifest");
    let plan = context.client.apply(&manifest, options).await;
    drop(progress);
    report(context, &plan?)
}

/// Makes changes and says what they did. Somebody at a terminal sees the plan first, and is asked where it removes or interrupts
/// something.
pub(crate) async fn make(
    context: &Context,
    options: ApplyOptions,
    change: impl AsyncFn(ApplyOptions) -> Result<ApplyResult, Failure>,
) -> Result<(), Failure> {
    let is_watched = context.output.is_for_people()
        && context.output.is_terminal()
        && io::stdin().is_terminal()
        && io::stderr().is_terminal();
    let is_seen_first = options.dry_run || (is_watched && !options.yes);
    if !is_seen_first {
        return report(context, &change(options).await?);
    }
    let dry_run = ApplyOptions {
        dry_run: true,
        ..options
    };
    let plan = match change(dry_run).await {
        Ok(plan) => plan,
        Err(refused) => {
            // What takes consent is seen with all that it is for.
            let all_the_same = ApplyOptions {
                yes: true,
                ..dry_run
            };
            if context.output.is_for_people()
                && let Ok(plan) = change(all_the_same).await
            {
                // Beside the refusal: there is no result.
                context.output.note(text(Style::PLAIN, &plan).trim_end());
            }
            return Err(refused);
        }
    };
    report(context, &plan)?;
    if options.dry_run {
        return Ok(());
    }
    if plan.changes.is_empty() {
        return Ok(());
    }
    if is_harsh(&plan) && !is_agreed(context)? {
        return Err(Failure::of_kind(ProblemKind::Failed, "nothing was changed"));
    }
    let planned = ApplyOptions {
        generation: Some(plan.generation),
        ..options
    };
    let result = change(planned).await?;
    context.output.text(&format!("{}\n", closing(&result)))
}

/// Whether somebody loses something by it.
fn is_harsh(plan: &ApplyResult) -> bool {
    let removes = |outcome: &Outcome| *outcome == Outcome::Deleted;
    !plan.interrupted.is_empty() || plan.changes.iter().any(|change| removes(&change.outcome))
}

fn is_agreed(context: &Context) -> Result<bool, Failure> {
    let _ = write!(io::stderr(), "\nMake these changes? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(format!("standard input: {error}")))?;
    if answer.is_empty() {
        context.output.note("");
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints what changes did, or would do.
pub(crate) fn report(context: &Context, result: &ApplyResult) -> Result<(), Failure> {
    for warning in &result.warnings {
        context.output.note(&format!("warning: {warning}"));
    }
    context.output.print(result, |style| text(style, result))
}

fn text(style: Style, result: &ApplyResult) -> String {
    if result.changes.is_empty() {
        return format!(
            "unchanged: the configuration is so already (generation {})\n",
            result.generation
        );
    }
    let rows = result.changes.iter().map(|change| {
        let object = change.object.to_string();
        let (action, what) = match &change.outcome {
            Outcome::Created => ("add", change.place.clone().unwrap_or_default()),
            Outcome::Deleted => ("remove", String::new()),
            Outcome::Unchanged => ("keep", String::new()),
            Outcome::Changed { fields } => {
                let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
                ("change", fields.join(", "))
            }
        };
        vec![action.to_owned(), object, what]
    });
    let mut text = style.table(&["ACTION", "OBJECT", "WHAT"], rows);
    text += "\n";
    text += &totals(result);
    text += "\n";
    if !result.dry_run {
        text += &closing(result);
        text += "\n";
    }
    text
}

/// `1 added, 2 changed; new settings in force on 2 ports (a, b); traffic is interrupted: port MyVM1`.
fn totals(result: &ApplyResult) -> String {
    let would = if result.dry_run { "to be " } else { "" };
    let count = |wanted: fn(&Outcome) -> bool| {
        let changes = result.changes.iter();
        changes.filter(|change| wanted(&change.outcome)).count()
    };
    let counts = [
        (count(|outcome| *outcome == Outcome::Created), "added"),
        (
            count(|outcome| matches!(outcome, Outcome::Changed { .. })),
            "changed",
        ),
        (count(|outcome| *outcome == Outcome::Deleted), "removed"),
    ];
    let counts: Vec<_> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {would}{what}"))
        .collect();
    let mut text = counts.join(", ");
    if !result.ports.is_empty() {
        let ports = counted(result.ports.len(), "port");
        let names = some_of(&result.ports);
        text += &format!("; new settings in force on {ports} ({names})");
    }
    text += "; ";
    text += &match result.interrupted.as_slice() {
        [] => "no traffic is interrupted".to_owned(),
        several => format!("traffic is interrupted: {}", some_of(several)),
    };
    text
}

/// A few of the objects by name.
fn some_of(objects: &[impl ToString]) -> String {
    const MOST: usize = 8;
    let named: Vec<_> = objects.iter().take(MOST).map(ToString::to_string).collect();
    let more = objects.len().saturating_sub(MOST);
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn closing(result: &ApplyResult) -> String {
    let generation = result.generation;
    match result.confirm_within_seconds {
        Some(seconds) => format!(
            "generation {generation} is in force for {seconds} s: keep it with 'weft confirm'"
        ),
        None => format!("generation {generation}; 'weft rollback' takes it back"),
    }
}

#[cfg(test)]
mod tests {
    use weft_api::ObjectChange;
    use weft_model::{FieldChange, Intent, Manifest, ObjectKind, ObjectRef};

    use super::*;

    #[test]
    fn the_manifest_of_the_help_parses_and_has_every_field() {
        let command = crate::command();
        let help = command.find_subcommand("apply").unwrap().get_after_help();
        let help = help.unwrap().to_string();
        let (_, shown) = help.split_once("A manifest with every field:\n").unwrap();
        let (shown, _) = shown.split_once("\n\n").unwrap();
        let lines: Vec<_> = shown.lines().map(|line| &line[2..]).collect();
        let manifest = Manifest::parse(&lines.join("\n")).unwrap();
        let mut intent = Intent::default();
        for change in manifest.changes() {
            intent = intent.apply(&change).unwrap().0;
        }
        let schema = Manifest::json_schema();
        for kind in [
            "VswitchSection",
            "SwitchSecurity",
            "SwitchTeaming",
            "SwitchShaping",
            "Limit",
            "SwitchLearning",
            "PortgroupSection",
            "PortSpec",
            "VhostUser",
            "VmkSection",
            "NetflowSection",
        ] {
            let fields = schema["$defs"][kind]["properties"].as_object().unwrap();
            // A lab's, and that of a vmk, which has a section of its own.
            let others = ["host", "vmk"];
            for field in fields
                .keys()
                .filter(|field| !others.contains(&field.as_str()))
            {
                assert!(
                    shown.contains(&format!("{field}:")),
                    "{kind}: {field}: {shown}"
                );
            }
        }
        // What is set to a default is left out of an export.
        let exported = Manifest::export(&intent).to_yaml();
        for default in [
            "inherit",
            "teaming",
            "shaping",
            "macLearning",
            "bpduFilter",
            " engine:",
            " link:",
            " block:",
        ] {
            assert!(!exported.contains(default), "{default}: {exported}");
        }
    }

    #[test]
    fn a_time_to_confirm_has_units_and_bounds() {
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("24h"), Ok(86_400));
        for text in ["60", "0s", "500ms", "25h", "-1s", "", "soon"] {
            assert!(seconds(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_plan_is_a_table_with_its_sum() {
        let change = |name: &str, outcome, place: Option<&str>| ObjectChange {
            object: ObjectRef::new(ObjectKind::Port, name),
            outcome,
            place: place.map(str::to_owned),
        };
        let field = FieldChange {
            field: "portgroup".to_owned(),
            before: "Lab".into(),
            after: "Prod".into(),
        };
        let moved = Outcome::Changed {
            fields: vec![field],
        };
        let mut result = ApplyResult {
            dry_run: true,
            generation: 7,
            changes: vec![
                change("MyVM2", moved, None),
                change("MyVM3", Outcome::Created, Some("to Lab on p-MyVM3")),
                change("A", Outcome::Deleted, None),
            ],
            ports: vec!["MyVM2".parse().unwrap()],
            interrupted: Vec::new(),
            interfaces: Vec::new(),
            warnings: Vec::new(),
            confirm_within_seconds: None,
        };
        assert_eq!(
            text(Style::PLAIN, &result),
            "\
ACTION  OBJECT      WHAT
change  port MyVM2  portgroup Lab -> Prod
add     port MyVM3  to Lab on p-MyVM3
remove  port A

1 to be added, 1 to be changed, 1 to be removed; new settings in force on 1 port (MyVM2); no traffic is interrupted
"
        );
        assert!(is_harsh(&result));
        result.changes.pop();
        assert!(!is_harsh(&result));
        result.changes.clear();
        assert_eq!(
            text(Style::PLAIN, &result),
            "unchanged: the configuration is so already (generation 7)\n"
        );
    }
}
