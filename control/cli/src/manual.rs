//! `weft man`: the manual as pages for man(1), made from the same texts as `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::Context;
use crate::completion::Shell;
use crate::failure::Failure;

/// Write the manual pages of all commands
#[derive(Args)]
#[command(after_help = "\
Examples:
  weft man /usr/local/share/man              for 'man weft' and 'man weft-port-add'
  weft man man                               look at them with 'man -l man/man1/weft.1'")]
pub(crate) struct Arguments {
    /// The directory, below which man1/ is made
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Write what a package installs below /usr/share: manual pages and completions
#[derive(Args)]
#[command(after_help = "Examples:\n  weft package-files debian/weft/usr/share")]
pub(crate) struct PackageFiles {
    /// The directory that becomes /usr/share
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<(), Failure> {
    let directory = &arguments.directory;
    let pages = write_pages(directory)?;
    let text = format!(
        "{pages} pages written to {}\n",
        directory.join("man1").display()
    );
    context.output.text(&text)
}

pub(crate) fn run_package_files(arguments: &PackageFiles) -> Result<(), Failure> {
    let share = &arguments.directory;
    write_pages(&share.join("man"))?;
    for (shell, file) in [
        (Shell::Bash, "bash-completion/completions/weft"),
        (Shell::Zsh, "zsh/vendor-completions/_weft"),
        (Shell::Fish, "fish/vendor_completions.d/weft.fish"),
    ] {
        write(&share.join(file), shell.script().as_bytes())?;
    }
    Ok(())
}

fn write(file: &Path, octets: &[u8]) -> Result<(), Failure> {
    let directory = file.parent().unwrap_or(file);
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(file, octets))
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", file.display())))
}

/// Writes the page of every command, and returns how many there are.
fn write_pages(directory: &Path) -> Result<usize, Failure> {
    let pages = pages().map_err(|error| Failure::new(format!("the manual: {error}")))?;
    for (name, page) in &pages {
        write(&directory.join("man1").join(name), page)?;
    }
    Ok(pages.len())
}

/// Every page with the name of its file.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = <crate::Cli as clap::CommandFactory>::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, None, &mut pages)?;
    Ok(pages)
}

fn add(
    command: &Command,
    above: Option<&Command>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    let name = name_of(command);
    pages.push((format!("{name}.1"), page(command, above)?));
    for below in command.get_subcommands() {
        add(below, Some(command), pages)?;
    }
    Ok(())
}

fn name_of(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, above: Option<&Command>) -> io::Result<Vec<u8>> {
    let name = name_of(command).to_owned();
    // Pages name a command with its noun; the text below the options has sections of its own.
    let man = Man::new(command.clone().after_help("").version(None::<&str>));
    // Without a date, so that every build makes the same page.
    let title = name.to_uppercase();
    let version = env!("CARGO_PKG_VERSION");
    let mut page =
        format!(".TH \"{title}\" \"1\" \"\" \"weft {version}\" \"weft manual\"\n").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    let help = command.get_after_help().map(ToString::to_string);
    sections(&mut rest, &help.unwrap_or_default());
    if above.is_none() {
        environment(&mut rest);
    }
    see_also(&mut rest, command, above);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// What stands below the options in `--help`: blocks of examples under their headings, and sentences.
fn sections(roff: &mut Roff, text: &str) {
    let blocks = || text.split("\n\n").filter(|block| !block.is_empty());
    let is_list = |block: &&str| block.lines().skip(1).any(|line| line.starts_with("  "));
    for (index, block) in blocks().filter(is_list).enumerate() {
        if index == 0 {
            roff.control("SH", ["EXAMPLES"]);
        }
        let mut lines = block.lines();
        let heading = lines.next().unwrap_or_default().trim_end_matches(':');
        if heading != "Examples" {
            roff.control("SS", [heading]);
        }
        roff.control("nf", []);
        for line in lines {
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        roff.control("fi", []);
    }
    let mut in_notes = false;
    for block in blocks().filter(|block| !is_list(block)) {
        if let Some(codes) = block.strip_prefix("Exit codes: ") {
            roff.control("SH", ["EXIT STATUS"]);
            roff.text([roman(codes)]);
            continue;
        }
        // Texts are not filled: where a line ends, a paragraph does.
        for paragraph in block.lines() {
            if in_notes {
                roff.control("PP", []);
            } else {
                roff.control("SH", ["NOTES"]);
            }
            roff.text([roman(paragraph)]);
            in_notes = true;
        }
    }
}

fn environment(roff: &mut Roff) {
    roff.control("SH", ["ENVIRONMENT"]);
    for (variable, meaning) in [
        (
            "WEFT_AGENT",
            "The socket of the agent, unless --agent names one.",
        ),
        (
            "WEFT_LOG",
            "What the agent logs: error, warn, info or debug.",
        ),
        ("WEFT_STATE", "As 'weft agent --state'."),
        (
            "WEFT_SOCKET",
            "As 'weft agent --socket'; else the agent serves the socket of WEFT_AGENT.",
        ),
        ("WEFT_GROUP", "As 'weft agent --group'."),
        ("WEFT_CORES", "As 'weft agent --cores'."),
        ("WEFT_POLL", "As 'weft agent --poll'."),
        ("WEFT_HOST_NAME", "As 'weft agent --host-name'."),
        ("WEFT_METRICS", "As 'weft agent --metrics'."),
        (
            "NO_COLOR",
            "No colours on a terminal if it is set and not empty.",
        ),
    ] {
        roff.control("TP", []);
        roff.text([bold(variable)]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["FILES"]);
    for (file, meaning) in [
        ("/run/weft/agent.sock", "The API of the agent."),
        ("/var/lib/weft", "The configuration that the agent keeps."),
        (
            "/etc/weft/agent.yaml",
            "The settings of the agent; its fields are the names of the flags of 'weft agent'.",
        ),
    ] {
        roff.control("TP", []);
        roff.text([bold(file)]);
        roff.text([roman(meaning)]);
    }
}

fn see_also(roff: &mut Roff, command: &Command, above: Option<&Command>) {
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    let names: Vec<&str> = above.into_iter().chain(below).map(name_of).collect();
    if names.is_empty() {
        return;
    }
    roff.control("SH", ["SEE ALSO"]);
    let last = names.len() - 1;
    for (index, name) in names.iter().enumerate() {
        let end = if index == last { "(1)" } else { "(1)," };
        roff.text([bold(*name), roman(end)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let pages = pages().unwrap();
        let page = |name: &str| {
            let (_, page) = pages.iter().find(|(known, _)| known == name).unwrap();
            String::from_utf8(page.clone()).unwrap()
        };
        assert!(pages.len() > 30, "{}", pages.len());
        for name in ["weft.1", "weft-port.1", "weft-port-add.1", "weft-lab-up.1"] {
            let page = page(name);
            for section in ["NAME", "SYNOPSIS", "OPTIONS", "SEE ALSO"] {
                let heading = format!(".SH {section}");
                let quoted = format!(".SH \"{section}\"");
                assert!(
                    page.contains(&heading) || page.contains(&quoted),
                    "{name}: {page}"
                );
            }
        }
        let add = page("weft-port-add.1");
        assert!(add.contains("EXAMPLES"), "{add}");
        assert!(add.contains("NOTES"), "{add}");
        let whole = page("weft.1");
        for part in ["WEFT_AGENT", "EXIT STATUS", ".SS \"On a host\""] {
            assert!(whole.contains(part), "{part}: {whole}");
        }
        // A paragraph for each way of attaching a port.
        assert_eq!(add.matches("\n.PP\n").count(), 2, "{add}");
        assert!(pages.iter().all(|(name, _)| name != "weft-complete.1"));
    }

    #[test]
    fn every_setting_of_the_agent_is_told() {
        let asked = std::cell::RefCell::new(Vec::new());
        let settings = weft_agent::Settings::from_environment(|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        settings.unwrap();
        let pages = pages().unwrap();
        let (_, whole) = &pages[0];
        let whole = String::from_utf8(whole.clone()).unwrap();
        let agent = crate::command();
        let agent = agent.find_subcommand("agent").unwrap();
        let help = agent.get_after_help().unwrap().to_string();
        for name in asked.into_inner() {
            assert!(
                whole.contains(&format!("\\fB{name}\\fR")),
                "{name}: {whole}"
            );
            // It is the operator's, and named with the global options.
            assert!(
                help.contains(&name) || name == "WEFT_AGENT",
                "{name}: {help}"
            );
        }
        assert!(whole.contains("/etc/weft/agent.yaml"), "{whole}");
        for path in ["/metrics", "/v1/openapi.json"] {
            assert!(help.contains(path), "{path}: {help}");
        }
    }
}
