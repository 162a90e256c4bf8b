//! Why a user may not talk to an agent.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use crate::problem::{Problem, ProblemKind};

/// The problem of a user whom the socket does not let in, by the group that it lets in.
pub(super) fn not_permitted(socket: &Path) -> Problem {
    // The socket may be in a directory that the user does not see into.
    let gid = std::fs::metadata(socket).map(|found| found.gid()).ok();
    let group = gid.filter(|gid| *gid != 0);
    let group = group.and_then(|gid| Group::from_gid(Gid::from_raw(gid)).ok()?);
    let user = User::from_uid(Uid::current()).ok().flatten();
    let user = user.map_or_else(|| Uid::current().to_string(), |user| user.name);
    let socket = socket.display();
    let problem = |why: String| {
        let message = format!("not permitted to talk to the agent at {socket}: {why}");
        Problem::new(ProblemKind::NotPermitted, message)
    };
    let Some(Group { name, mem, .. }) = group else {
        return problem("only root may".to_owned())
            .with_remedy("run it as root, or give the agent a group of operators with --group");
    };
    if mem.contains(&user) {
        let why = format!("{user} is in group {name}, but this session began before that");
        return problem(why).with_remedy("log out and in again");
    }
    problem(format!("you are not in group {name}")).with_remedy(format!(
        "run 'sudo usermod -aG {name} {user}' and log in again, or run it as root"
    ))
}
