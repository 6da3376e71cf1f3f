//! A run of named steps: each says when it starts and how long it took, what failed, and the last line counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How many checks passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads a summary line of cargo-nextest, of `cargo test` or of pytest. Other lines count nothing.
    fn of_line(line: &str) -> Tally {
        // A test that is tried again has its own printed by cargo-nextest, indented: that is no summary.
        let cargo_test = line.starts_with("test result: ");
        let line = line.trim();
        let nextest = line.starts_with("Summary [") && line.contains(" run: ");
        let pytest = line.starts_with("==") && line.ends_with("==") && line.contains(" in ");
        if !(nextest || cargo_test || pytest) {
            return Tally::default();
        }
        // `2 failed`, also where nextest details it: `13 passed (1 slow), 1 failed, 1 timed out`.
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let count = |names: &[&str]| -> u64 {
            let counted = |pair: &[&str]| names.contains(&pair[1]).then(|| pair[0].parse().unwrap_or(0));
            words.windows(2).filter_map(counted).sum()
        };
        Tally { passed: count(&["passed"]), failed: count(&["failed", "timed", "error", "errors", "exec"]) }
    }
}

struct Step {
    name: String,
    took: Duration,
    tally: Tally,
    /// Why it failed; nothing when it passed.
    failure: Option<String>,
}

impl Step {
    /// Does it. A step that counts no checks of its own is one check.
    fn done<T>(name: &str, step: impl FnOnce(&mut Tally) -> Result<T>) -> (Step, Option<T>) {
        let began = Instant::now();
        let mut tally = Tally::default();
        let result = step(&mut tally);
        let failure = result.as_ref().err().map(|error| format!("{error:#}"));
        if failure.is_some() {
            tally.failed = tally.failed.max(1);
        } else if tally == Tally::default() {
            tally.passed = 1;
        }
        (Step { name: name.to_owned(), took: began.elapsed(), tally, failure }, result.ok())
    }

    /// What is said when it has ended.
    fn verdict(&self) -> String {
        let word = if self.failure.is_some() { "FAILED" } else { "passed" };
        let why = self.failure.as_ref().map(|failure| format!("\n    {failure}")).unwrap_or_default();
        format!("=== {}: {word} after {:.1} s{why}", self.name, self.took.as_secs_f64())
    }
}

/// A step of one command, for which it does not matter when it gets the processor.
pub(crate) struct Aside {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
    /// Whether it has failed when it counted no check.
    pub(crate) counts: bool,
}

/// Steps that run beside others, one after another. What each printed is shown in one piece when it has ended.
pub(crate) struct Beside(JoinHandle<Vec<Step>>);

impl Beside {
    pub(crate) fn start(asides: Vec<Aside>) -> Beside {
        Beside(std::thread::spawn(|| asides.into_iter().map(Aside::run).collect()))
    }
}

impl Aside {
    fn run(mut self) -> Step {
        let printed = Printed::default();
        let (step, _) = Step::done(self.name, |tally| {
            execute_into(&mut self.command, tally, printed.clone(), printed.clone())?;
            ensure!(!self.counts || tally.passed > 0, "no check was made");
            Ok(())
        });
        let mut text = format!("\n=== {}, beside what else runs\n", self.name).into_bytes();
        text.append(&mut printed.0.lock().expect("nobody panics while it prints"));
        text.extend_from_slice(step.verdict().as_bytes());
        text.push(b'\n');
        // In one write, so that no line of another step comes between. Whoever read our output may have gone.
        drop(std::io::stdout().lock().write_all(&text));
        step
    }
}

/// What a command that runs beside others has printed so far.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics while it prints").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The steps that were run.
pub(crate) struct Steps {
    began: Instant,
    steps: Vec<Step>,
}

impl Steps {
    pub(crate) fn new() -> Steps {
        Steps { began: Instant::now(), steps: Vec::new() }
    }

    /// Runs a step and returns what it made, or nothing when it failed.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce(&mut Tally) -> Result<T>) -> Option<T> {
        println!("\n=== {name}");
        let (step, made) = Step::done(name, step);
        println!("{}", step.verdict());
        self.steps.push(step);
        made
    }

    /// Waits for steps that run beside others.
    pub(crate) fn join(&mut self, beside: Beside) {
        self.steps.extend(beside.0.join().expect("a step that fails does not panic"));
    }

    /// A step that cannot be run because another failed counts as failed.
    pub(crate) fn impossible(&mut self, name: &str, why: &str) {
        println!("\n=== {name}: NOT RUN, {why}");
        let tally = Tally { passed: 0, failed: 1 };
        self.steps.push(Step {
            name: name.to_owned(),
            took: Duration::ZERO,
            tally,
            failure: Some(format!("not run, {why}")),
        });
    }

    fn tally(&self) -> Tally {
        let mut all = Tally::default();
        self.steps.iter().for_each(|step| all.add(step.tally));
        all
    }

    /// Prints the table; its last line is `N passed, N failed`.
    pub(crate) fn summary(&self, mut out: impl Write) -> std::io::Result<Tally> {
        let widest = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        writeln!(out)?;
        for step in &self.steps {
            let (name, seconds, Tally { passed, failed }) = (&step.name, step.took.as_secs_f64(), step.tally);
            writeln!(out, "  {name:widest$}  {seconds:7.1} s  {passed:4} passed  {failed:2} failed")?;
        }
        for step in &self.steps {
            if let Some(failure) = &step.failure {
                writeln!(out, "  {}: {failure}", step.name)?;
            }
        }
        let all = self.tally();
        writeln!(out, "  in {:.0} s", self.began.elapsed().as_secs_f64())?;
        writeln!(out, "{} passed, {} failed", all.passed, all.failed)?;
        Ok(all)
    }
}

/// Runs a command, shows its output as it comes, and counts the checks that it says it made.
pub(crate) fn execute(command: &mut Command, tally: &mut Tally) -> Result<()> {
    execute_into(command, tally, std::io::stdout(), std::io::stderr())
}

fn execute_into(
    command: &mut Command,
    tally: &mut Tally,
    to_out: impl Write,
    to_err: impl Write + Send,
) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} cannot be run"))?;
    let stdout = child.stdout.take().expect("piped");
    let stderr = child.stderr.take().expect("piped");
    let (from_out, from_err) = std::thread::scope(|scope| {
        let err = scope.spawn(|| pass_on(stderr, to_err));
        let out = pass_on(stdout, to_out);
        (out, err.join().expect("reading lines does not panic"))
    });
    tally.add(from_out);
    tally.add(from_err);
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", name.rsplit('/').next().unwrap_or(&name));
    }
    Ok(())
}

fn pass_on(from: impl Read, mut to: impl Write) -> Tally {
    let mut tally = Tally::default();
    for line in BufReader::new(from).split(b'\n') {
        let Ok(mut line) = line else { break };
        tally.add(Tally::of_line(&String::from_utf8_lossy(&line)));
        line.push(b'\n');
        // Whoever read our output may have gone; the command's own result still counts.
        if to.write_all(&line).and_then(|()| to.flush()).is_err() {
            break;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_are_counted_and_others_are_not() {
        let check = |line: &str, passed, failed| {
            assert_eq!(Tally::of_line(line), Tally { passed, failed }, "{line}");
        };
        check("     Summary [   0.046s] 15 tests run: 15 passed, 0 skipped", 15, 0);
        check("     Summary [   1.2s] 1 test run: 1 passed, 3 skipped", 1, 0);
        check(
            "     Summary [  61s] 16/20 tests run: 13 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 0 skipped",
            13,
            3,
        );
        check(
            "test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            7,
            0,
        );
        check("test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 7, 2);
        check("    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out", 0, 0);
        check("========= 12 passed, 1 warning in 3.21s =========", 12, 0);
        check("==== 1 failed, 4 passed, 1 error in 0.5s ====", 4, 2);
        check("        PASS [   0.005s] 3 passed the gate", 0, 0);
        check("", 0, 0);
    }

    #[test]
    fn the_last_line_is_plain() {
        let mut steps = Steps::new();
        steps.run("one", |_| Ok(()));
        steps.run("two", |tally| {
            tally.passed = 5;
            Ok(())
        });
        let made: Option<()> = steps.run("three", |_| bail!("no such thing"));
        assert_eq!(made, None);
        steps.impossible("four", "three failed");
        let mut text = Vec::new();
        let all = steps.summary(&mut text).unwrap();
        assert_eq!(all, Tally { passed: 6, failed: 2 });
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().last(), Some("6 passed, 2 failed"));
        assert!(text.contains("three: no such thing"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn what_runs_beside_is_counted_where_it_is_joined() {
        let aside = |name, script: &str, counts| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Aside { name, command, counts }
        };
        let mut steps = Steps::new();
        let beside = Beside::start(vec![
            aside("counts", "echo 'test result: ok. 3 passed; 0 failed; '", true),
            aside("counts nothing", "true", true),
            aside("need not count", "true", false),
        ]);
        steps.run("meanwhile", |_| Ok(()));
        steps.join(beside);
        let mut text = Vec::new();
        assert_eq!(steps.summary(&mut text).unwrap(), Tally { passed: 5, failed: 1 });
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("counts nothing: no check was made"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_a_failure_whatever_it_prints() {
        let mut tally = Tally::default();
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'test result: ok. 3 passed; 0 failed; '; exit 3"]);
        let error = execute(&mut command, &mut tally).unwrap_err().to_string();
        assert_eq!(tally, Tally { passed: 3, failed: 0 });
        assert!(error.contains("sh ended with") && error.contains('3'), "{error}");
    }
}
