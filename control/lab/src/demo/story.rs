//! What the demonstration shows, and its evidence in one table.

use std::fmt::Write as _;

/// How many echo requests MyVM1 sends in each step.
pub(super) const PINGS: usize = 5;

/// One step: what the administrator does, and whether MyVM2 then sees the traffic of the others.
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) command: &'static [&'static str],
    pub(super) switch: &'static str,
    pub(super) portgroup: &'static str,
    pub(super) seen: bool,
}

pub(super) const STEPS: [Step; 4] = [
    Step {
        title: "Promiscuous mode is rejected unless an administrator accepts it.",
        command: &[],
        switch: "reject",
        portgroup: "inherit",
        seen: false,
    },
    Step {
        title: "The administrator accepts it on the switch, and the port group Lab inherits that.",
        command: &["vswitch", "set", "vSwitch1", "--promiscuous", "accept"],
        switch: "accept",
        portgroup: "inherit",
        seen: true,
    },
    Step {
        title: "Rejected again.",
        command: &["vswitch", "set", "vSwitch1", "--promiscuous", "reject"],
        switch: "reject",
        portgroup: "inherit",
        seen: false,
    },
    Step {
        title: "Accepted on the port group alone; the switch still rejects it.",
        command: &["portgroup", "set", "Lab", "--promiscuous", "accept"],
        switch: "reject",
        portgroup: "accept",
        seen: true,
    },
];

/// What a step showed.
pub(super) struct Evidence {
    pub(super) in_force: String,
    pub(super) requests: usize,
    pub(super) replies: usize,
}

/// All steps with what they showed.
pub(super) fn summary(evidence: &[Evidence]) -> String {
    let mut text =
        String::from("\nPromiscuous mode                                              MyVM2 saw\n");
    let _ = writeln!(
        text,
        "   {:8} {:10} {:39} {:>8} {:>8}",
        "switch", "port group", "in force for MyVM2", "requests", "replies"
    );
    for (number, (step, seen)) in STEPS.iter().zip(evidence).enumerate() {
        let Evidence {
            in_force,
            requests,
            replies,
        } = seen;
        let (number, switch, portgroup) = (number + 1, step.switch, step.portgroup);
        let _ = writeln!(
            text,
            "{number}. {switch:8} {portgroup:10} {in_force:39} {requests:8} {replies:8}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_aligned() {
        let in_force = "reject (standard switch vSwitch1)".to_owned();
        let evidence = [Evidence {
            in_force,
            requests: 0,
            replies: 0,
        }];
        let text = summary(&evidence);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
    }
}
