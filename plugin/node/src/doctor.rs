//! `audiocloud doctor`: what stands in the way, finding by finding as they are made.

use std::fmt::Write;

use audiocloud_net::runtime::Config;
use audiocloud_net::runtime::doctor::{self, Check, Finding, Options, Outcome};
use audiocloud_net::runtime::sessions::Store;
use serde_json::json;

use crate::arguments::DoctorArguments;
use crate::field::clean;
use crate::output::{print, print_json};

/// Whether nothing stands in the way.
pub(crate) fn run(arguments: DoctorArguments, config: &Config) -> anyhow::Result<bool> {
    let DoctorArguments { checks, reach, form } = arguments;
    let checks = if checks.is_empty() { Check::ALL.to_vec() } else { checks };
    let options = Options { checks, reach: with_meeting_points(reach, config), ..Options::default() };
    let mut last = None;
    let findings = doctor::examine(config, &options, &mut |finding| {
        if !form.json {
            // A reader that is gone changes nothing about what is found.
            print(&words(finding, last)).ok();
        }
        last = Some(finding.check);
    });
    let worst = doctor::worst(&findings);
    if form.json {
        print_json(&json!({ "worst": worst, "findings": findings }))?;
    } else {
        print(summary(worst))?;
    }
    Ok(worst < Outcome::Fault)
}

/// Those of the sessions, which config.toml does not name.
fn with_meeting_points(mut reach: Vec<String>, config: &Config) -> Vec<String> {
    // A store that cannot be read has its own complaints wherever sessions are asked for.
    let memberships = Store::new(&config.config_dir).memberships().unwrap_or_default();
    let points = memberships.iter().flat_map(|one| &one.meeting).map(|point| point.address.to_string());
    reach.extend(points);
    reach
}

fn words(finding: &Finding, last: Option<Check>) -> String {
    let check = if last == Some(finding.check) { "" } else { finding.check.code() };
    let outcome = match finding.outcome {
        Outcome::Good => "good",
        Outcome::Unknown => "note",
        Outcome::Warning => "warning",
        Outcome::Fault => "FAULT",
    };
    let mut words = format!("{check:<11} {outcome:<8} {}\n", clean(&finding.found));
    if let Some(remedy) = &finding.remedy {
        // Writing to a string cannot fail.
        writeln!(words, "{:20} remedy: {}", "", clean(remedy)).ok();
    }
    words
}

fn summary(worst: Outcome) -> &'static str {
    match worst {
        Outcome::Good | Outcome::Unknown => "Nothing stands in the way, as far as this machine can tell.\n",
        Outcome::Warning => "It works, but not as well as it could: see the warnings.\n",
        Outcome::Fault => "Something stands in the way: see the faults and their remedies.\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_remedy_another() {
        let finding = Finding {
            check: Check::Port,
            outcome: Outcome::Fault,
            found: "UDP port 4720 is taken".to_owned(),
            remedy: Some("take another".to_owned()),
        };
        assert_eq!(
            words(&finding, None),
            "port        FAULT    UDP port 4720 is taken\n                     remedy: take another\n"
        );
        assert!(words(&finding, Some(Check::Port)).starts_with("            FAULT"), "named once");
    }
}
