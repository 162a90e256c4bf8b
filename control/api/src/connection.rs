//! By which address of the host a process is connected to it from elsewhere.

use std::net::IpAddr;

/// The header by which a client tells that address with a change.
pub const CONNECTED_TO: &str = "weft-connected-to";

/// Ancestors that are asked. A loop cannot be: a process has one parent, whose number may be used anew while this is read.
const MOST_ANCESTORS: usize = 32;

/// The host's address of the SSH connection that a process came by: it or an ancestor of it has it in its environment, which sudo
/// takes from its children.
pub fn connection_of(pid: u32) -> Option<IpAddr> {
    let parent = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        parent.trim().parse().ok().filter(|parent| *parent > 0)
    };
    let line = std::iter::successors(Some(pid), parent).take(MOST_ANCESTORS);
    line.into_iter().find_map(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        address_in(&environment)
    })
}

/// The server's address in `SSH_CONNECTION` (ssh(1): client, its port, server, its port).
fn address_in(environment: &[u8]) -> Option<IpAddr> {
    let mut variables = environment.split(|octet| *octet == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    let address = std::str::from_utf8(value).ok()?.split(' ').nth(2)?;
    // A link-local address names its interface behind a percent sign.
    let address: IpAddr = address.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_word_is_the_address_of_the_host() {
        let found = |text: &str| address_in(text.as_bytes()).map(|address| address.to_string());
        let ssh = "HOME=/root\0SSH_CONNECTION=192.0.2.9 50000 10.0.0.11 22\0A=b\0";
        assert_eq!(found(ssh).as_deref(), Some("10.0.0.11"));
        let ssh = "SSH_CONNECTION=fe80::9%eth0 50000 fe80::1%vmk0 22";
        assert_eq!(found(ssh).as_deref(), Some("fe80::1"));
        let ssh = "SSH_CONNECTION=::ffff:192.0.2.9 5 ::ffff:10.0.0.11 22";
        assert_eq!(found(ssh).as_deref(), Some("10.0.0.11"));
        for none in [
            "",
            "MY_SSH_CONNECTION=a b 10.0.0.11 22",
            "SSH_CONNECTION=a",
            "SSH_CONNECTION=a b c d",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    #[test]
    fn an_ancestor_tells_what_a_process_was_not_told() {
        use std::process::{Command, Stdio};
        let script = "env -u SSH_CONNECTION sh -c 'echo $$; read line; :'; :";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .env("SSH_CONNECTION", "192.0.2.9 5 10.0.0.11 22")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = std::io::BufReader::new(shell.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut { output }, &mut line).unwrap();
        let found = connection_of(line.trim().parse().unwrap());
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(found, Some("10.0.0.11".parse().unwrap()));
    }
}
