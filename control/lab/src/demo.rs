//! The demonstration: promiscuous mode of a standard switch, with real interfaces, ping and tcpdump.

mod capture;
mod story;

use std::io;
use std::path::Path;
use std::process::Stdio;

use weft_api::Client;
use weft_model::{Manifest, PortName};

use crate::command::{check_requirements, program};
use crate::plan::Plan;
use crate::record::{HostPaths, Record};
use crate::signal::Interrupts;
use crate::{LabError, Wish, down, up};
use capture::Capture;
use story::{Evidence, PINGS, STEPS, Step, summary};

/// The lab of the demonstration; `weft lab up` takes the same file.
const LAB_FILE: &str = include_str!("../../../examples/mirror.yaml");
const LAB: &str = "demo";

/// Runs the demonstration and tells each step to `say`, a line or several at a time. Nothing of it remains afterwards,
/// whatever happens.
///
/// # Errors
/// When the lab cannot be made, MyVM2 sees what it should not, does not see what it should, or `say` fails.
pub async fn demo(
    weft: &Path,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), LabError> {
    check_requirements("demo", &["ip", "ethtool", "ping", "tcpdump"])?;
    let manifest = Manifest::parse(LAB_FILE)
        .map_err(|error| LabError::invalid("mirror.yaml", error.to_string()))?;
    let wish = Wish {
        lab: LAB.parse()?,
        manifest,
    };
    let mut interrupts = Interrupts::catch()?;
    if let Some(left) = Record::load(&wish.lab)?.filter(Record::is_abandoned) {
        tell(say, "An earlier demo was killed; removing what it left.\n")?;
        down::remove(&left).await?;
    }
    let record = up::claim(Plan::new(&wish.lab, &wish.manifest)?, &wish, true)?;
    let ran = tokio::select! {
        ran = run(record.clone(), weft, say) => ran,
        signal = interrupts.next() => Err(signal),
    };
    let removed = down::remove(&record).await;
    let evidence = ran?;
    removed?;
    check_gone(&record.plan)?;
    tell(say, &summary(&evidence))?;
    tell(
        say,
        "The lab is removed: no namespace, interface, process or file is left behind.",
    )
}

async fn run(
    mut record: Record,
    weft: &Path,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<Vec<Evidence>, LabError> {
    tell(
        say,
        "An isolated standard switch, vSwitch1, with the port group Lab on VLAN 4095, and three VMs on it:",
    )?;
    for vm in &record.plan.vms {
        tell(
            say,
            &format!(
                "  {}  {}  {}",
                vm.name,
                vm.ip.as_deref().unwrap_or("-"),
                vm.mac
            ),
        )?;
    }
    tell(say, "  $ weft lab up examples/mirror.yaml")?;
    up::make(&record.plan, weft).await?;
    record.finish()?;
    let mut evidence = Vec::with_capacity(STEPS.len());
    for (number, step) in STEPS.iter().enumerate() {
        tell(say, &format!("\n{}. {}", number + 1, step.title))?;
        evidence.push(show(&record.plan, weft, number + 1, step, say).await?);
    }
    Ok(evidence)
}

/// Makes the change of a step, pings, and compares what MyVM2 saw with what it should have seen.
async fn show(
    plan: &Plan,
    weft: &Path,
    number: usize,
    step: &Step,
    say: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<Evidence, LabError> {
    let host = plan
        .hosts
        .first()
        .ok_or_else(|| LabError::invalid("mirror.yaml", "has no host"))?;
    let socket = HostPaths::new(&plan.lab, host).socket();
    if !step.command.is_empty() {
        tell(
            say,
            &format!(
                "  $ weft lab exec {} -- weft {}",
                host.name,
                step.command.join(" ")
            ),
        )?;
        let said = output(
            program(&weft.to_string_lossy())
                .args(step.command)
                .env("WEFT_AGENT", &socket),
        )
        .await?;
        tell(say, &indented(&said))?;
    }
    tell(
        say,
        "  $ weft lab exec MyVM2 -- tcpdump -n -i eth0 icmp      # in a second terminal",
    )?;
    let mut capture = Capture::start(namespace(plan, "MyVM2")?).await?;
    tell(
        say,
        &format!("  $ weft lab exec MyVM1 -- ping -n -c {PINGS} -i 0.2 192.168.10.3"),
    )?;
    let pings = PINGS.to_string();
    let said = ping(plan, "MyVM1", &["-c", &pings, "-i", "0.2", "192.168.10.3"]).await?;
    let result = said
        .lines()
        .find(|line| line.contains("packets transmitted"))
        .unwrap_or(&said);
    tell(say, &indented(result))?;
    if !result.contains(&format!(" {PINGS} received")) {
        return Err(LabError::failed(
            format!("step {number}"),
            format!("MyVM1 does not reach MyVM3: {result}"),
        ));
    }
    // The answer to MyVM2's own ping takes the same way as anything that the switch mirrored before, and after it: when
    // tcpdump has printed it, it has printed all, and what it did not print was not sent to MyVM2.
    ping(plan, "MyVM2", &["-c", "1", "192.168.10.1"]).await?;
    capture
        .until("192.168.10.1 > 192.168.10.2: ICMP echo reply")
        .await?;
    let lines = capture.stop().await?;
    let (requests, replies) = (
        matching(&lines, "192.168.10.1 > 192.168.10.3: ICMP echo request"),
        matching(&lines, "192.168.10.3 > 192.168.10.1: ICMP echo reply"),
    );
    let evidence = Evidence {
        in_force: promiscuous_in_force(&socket).await?,
        requests: requests.len(),
        replies: replies.len(),
    };
    tell(
        say,
        &format!(
            "  MyVM2 saw {} requests and {} replies of it.",
            evidence.requests, evidence.replies
        ),
    )?;
    for line in requests.iter().take(1).chain(replies.iter().take(1)) {
        tell(say, &indented(line))?;
    }
    let expected = if step.seen { PINGS } else { 0 };
    if (evidence.requests, evidence.replies) != (expected, expected) {
        return Err(LabError::failed(
            format!("step {number}"),
            format!(
                "MyVM2 should have seen {expected} requests and {expected} replies, and saw {} and {}",
                evidence.requests, evidence.replies
            ),
        ));
    }
    Ok(evidence)
}

fn tell(say: &mut dyn FnMut(&str) -> io::Result<()>, text: &str) -> Result<(), LabError> {
    say(text).map_err(|error| LabError::io("standard output", &error))
}

fn indented(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| format!("      {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn matching<'a>(lines: &'a [String], what: &str) -> Vec<&'a String> {
    lines.iter().filter(|line| line.contains(what)).collect()
}

fn namespace<'a>(plan: &'a Plan, vm: &str) -> Result<&'a str, LabError> {
    let member = plan.member(vm).map(|(namespace, _)| namespace);
    member.ok_or_else(|| LabError::invalid("mirror.yaml", format!("has no VM {vm}")))
}

/// Runs ping in a VM and returns what it said, also when nobody answered.
async fn ping(plan: &Plan, vm: &str, arguments: &[&str]) -> Result<String, LabError> {
    let fixed = [
        "netns",
        "exec",
        namespace(plan, vm)?,
        "ping",
        "-n",
        "-W",
        "2",
    ];
    let output = program("ip")
        .args(fixed)
        .args(arguments)
        .output()
        .await
        .map_err(|error| LabError::io("ping", &error))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}

/// Runs a weft command and returns what it printed.
async fn output(command: &mut tokio::process::Command) -> Result<String, LabError> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command
        .output()
        .await
        .map_err(|error| LabError::io("weft", &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::failed(
        "weft",
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

/// Promiscuous mode of MyVM2 as the agent applies it, with the object that decides.
async fn promiscuous_in_force(socket: &Path) -> Result<String, LabError> {
    let port: PortName = "MyVM2".parse().expect("letters and digits are a port name");
    let policy = Client::new(socket)
        .policy(&port)
        .await
        .map_err(|problem| LabError::of_agent("esxi01", problem))?;
    let leaf = policy
        .leaves
        .iter()
        .find(|leaf| leaf.leaf == "security.promiscuous");
    leaf.map(|leaf| format!("{} ({})", leaf.value, leaf.from))
        .ok_or_else(|| LabError::failed("port MyVM2", "the agent reports no promiscuous mode"))
}

fn check_gone(plan: &Plan) -> Result<(), LabError> {
    match plan
        .namespaces()
        .find(|name| Path::new("/run/netns").join(name).exists())
    {
        Some(left) => Err(LabError::failed(
            format!("namespace {left}"),
            "is still there",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_what_the_steps_speak_of() {
        let manifest = Manifest::parse(LAB_FILE).unwrap();
        let plan = Plan::new(&LAB.parse().unwrap(), &manifest).unwrap();
        assert_eq!(plan.hosts.len(), 1);
        for (vm, ip) in [
            ("MyVM1", "192.168.10.1/24"),
            ("MyVM2", "192.168.10.2/24"),
            ("MyVM3", "192.168.10.3/24"),
        ] {
            assert!(
                plan.vms
                    .iter()
                    .any(|planned| planned.name == vm && planned.ip.as_deref() == Some(ip))
            );
        }
        assert!(plan.hosts[0].manifest.vswitches()[0].uplinks.is_empty());
    }
}
