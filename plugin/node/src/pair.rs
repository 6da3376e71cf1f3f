//! `audiocloud pair`: an invitation by a spoken code, to a machine on the same network or at the same meeting point.

use audiocloud_net::membership::pairing::Code;
use audiocloud_net::runtime::Config;
use audiocloud_net::runtime::pairing::{self, Cancel};
use audiocloud_net::runtime::sessions::{InviteOptions, acts};
use serde_json::json;

use crate::arguments::{Bounds, PairArguments};
use crate::field::clean;
use crate::output::{answer, print, print_json};
use crate::session::{chosen, joined};

pub(crate) fn run(arguments: PairArguments, config: &Config) -> anyhow::Result<()> {
    match &arguments.code {
        Some(code) => guest(&arguments, code.parse()?, config),
        None => host(arguments, config),
    }
}

fn guest(arguments: &PairArguments, code: Code, config: &Config) -> anyhow::Result<()> {
    let (_, invitation) = pairing::guest(config, arguments.meeting.as_ref(), code, &Cancel::default())?;
    let membership = acts::accept(config, invitation)?;
    joined(config, &membership, arguments.which.json)
}

fn host(arguments: PairArguments, config: &Config) -> anyhow::Result<()> {
    let PairArguments { code: _, which, bounds: Bounds { rights, expires }, meeting } = arguments;
    let membership = chosen(config, &which)?;
    let options = InviteOptions { rights, expires_s: expires, ..InviteOptions::default() };
    let invitation = acts::invite(config, &membership.session, &options)?;
    let through = meeting.as_ref().map_or(String::new(), |_| " with the same --meeting".to_owned());
    let guest = pairing::host(config, meeting.as_ref(), &invitation, &Cancel::default(), |code| {
        let text = format!(
            "Say to the other one: {code}\nThere: audiocloud pair {code}{through}\nThe code serves for one try, within ten \
             minutes; who has it may {}.\n",
            options.rights.words()
        );
        // Who has closed standard output does not want to know.
        if which.json { print_json(&json!({ "code": code.to_string() })) } else { print(&text) }.ok();
    })?;
    let words = format!(
        "The invitation to \"{}\" is with the device {} now.\n",
        clean(&membership.name),
        guest.short()
    );
    answer(which.json, &json!({ "session": membership.session, "device": guest }), &words)
}
