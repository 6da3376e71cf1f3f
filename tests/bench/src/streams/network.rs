//! The network: namespaces A, M and B, a cable from A to M and one from M to B. M has no addresses: what passes from one
//! cable to the other is up to [`super::forwarder`].

use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// An end of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    A,
    B,
}

impl Site {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The namespace's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    pub(crate) const fn address(self) -> &'static str {
        match self {
            Self::A => "10.77.0.1",
            Self::B => "10.77.0.2",
        }
    }

    /// The interface in the site.
    fn interface(self) -> &'static str {
        match self {
            Self::A => "end-a",
            Self::B => "end-b",
        }
    }

    /// The interface in M at the cable's other end.
    pub(crate) fn middle_interface(self) -> &'static str {
        match self {
            Self::A => "mid-a",
            Self::B => "mid-b",
        }
    }
}

const MIDDLE: &str = "m";

/// Makes namespaces and cables.
pub(crate) fn set_up() -> Result<()> {
    for namespace in [MIDDLE, Site::A.name(), Site::B.name()] {
        call(&["ip", "netns", "add", namespace])?;
        call(&["ip", "-n", namespace, "link", "set", "dev", "lo", "up"])?;
    }
    for site in Site::BOTH {
        let (name, end, middle) = (site.name(), site.interface(), site.middle_interface());
        call(&[
            "ip", "link", "add", end, "netns", name, "type", "veth", "peer", "name", middle, "netns", MIDDLE,
        ])?;
        for (namespace, interface) in [(name, end), (MIDDLE, middle)] {
            let within = ["ip", "netns", "exec", namespace];
            // The forwarder sees frames as a wire would carry them: whole, with checksums.
            let offloads =
                ["ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off", "gro", "off"];
            call(&[&within[..], &offloads].concat())?;
            let quiet = format!("net.ipv6.conf.{interface}.disable_ipv6=1");
            call(&[&within[..], &["sysctl", "-qw", &quiet]].concat())?;
            call(&["ip", "-n", namespace, "link", "set", "dev", interface, "up"])?;
        }
        call(&["ip", "-n", name, "addr", "add", &format!("{}/24", site.address()), "dev", end])?;
        call(&["ip", "-n", name, "route", "add", "224.0.0.0/4", "dev", end])?;
    }
    Ok(())
}

/// A cable from A to B beside the other, with nothing between: the same name at both ends, and addresses of a network of its
/// own.
pub(crate) fn lay_cable(name: &str, network: u8) -> Result<()> {
    let [a, b] = Site::BOTH.map(Site::name);
    call(&["ip", "link", "add", name, "netns", a, "type", "veth", "peer", "name", name, "netns", b])?;
    for site in Site::BOTH {
        let address = direct_address(site, network);
        call(&["ip", "-n", site.name(), "addr", "add", &format!("{address}/24"), "dev", name])?;
        call(&["ip", "-n", site.name(), "link", "set", "dev", name, "up"])?;
    }
    Ok(())
}

/// A site's address on a cable of its own.
pub(crate) fn direct_address(site: Site, network: u8) -> String {
    let host = match site {
        Site::A => 1,
        Site::B => 2,
    };
    format!("10.78.{network}.{host}")
}

/// Moves the calling thread into M.
pub(crate) fn enter_middle() -> Result<()> {
    enter_namespace(MIDDLE)
}

/// Moves the calling thread into a site.
pub(crate) fn enter(site: Site) -> Result<()> {
    enter_namespace(site.name())
}

fn enter_namespace(name: &str) -> Result<()> {
    let namespace = File::open(format!("/run/netns/{name}")).context("a network namespace is not there")?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// A command that runs `program` at a site, at SCHED_FIFO `priority` where one is given.
pub(crate) fn at(site: Site, priority: Option<u32>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", site.name()]);
    if let Some(priority) = priority {
        command.args(["chrt", "--fifo", &priority.to_string()]);
    }
    command.arg(program);
    command
}

fn call(words: &[&str]) -> Result<()> {
    let line = words.join(" ");
    let output =
        Command::new(words[0]).args(&words[1..]).output().with_context(|| format!("{line} cannot be run"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}", complaint.trim());
    Ok(())
}
