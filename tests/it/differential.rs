//! Zipwright against `/usr/bin/make`: scenarios are described once, written both as a Makefile and
//! as a Buildfile, and run with both tools. After every invocation the exit status, the commands
//! that ran (with `-j1` also their order) and the files must be the same. Where zipwright differs
//! on purpose, the scenario has the reason, and the result of each tool is asserted, so that the
//! test fails on the day they agree.
//!
//! - `rules` describes targets and writes them in both languages;
//! - `scenario` describes the steps;
//! - `compare` runs a scenario and compares;
//! - all other modules are scenarios: `shapes` × `matrix`, and by feature.

mod compare;
mod failures;
mod flags;
mod goals;
mod matrix;
mod nested;
mod parallel;
mod purpose;
mod rules;
mod scenario;
mod shapes;

use std::collections::BTreeSet;

use compare::check;
use scenario::{Expected, Scenario, Step};

/// Fewer scenarios would mean a table that lost its rows.
const SCENARIOS_MIN: usize = 500;

type Family = fn() -> Vec<Scenario>;

const FAMILIES: &[Family] = &[
    matrix::after_changes,
    matrix::under_flags,
    matrix::asked_after_an_edit,
    matrix::with_failures,
    matrix::taken_up_again,
    matrix::up_to_date,
    goals::goals,
    goals::command_lines,
    goals::default_goals,
    goals::unknown,
    goals::variables,
    goals::folders,
    failures::ends_of_commands,
    failures::keep_going,
    failures::missing_inputs,
    failures::leftovers,
    failures::signals,
    flags::always,
    flags::touch,
    flags::what_if,
    flags::old_file,
    flags::ignore_errors,
    flags::manners,
    flags::silence,
    nested::calls,
    nested::reads_what_the_inner_one_left,
    nested::environment,
    parallel::at_once,
    parallel::one_at_a_time,
    parallel::with_failures,
    parallel::shuffled,
    purpose::content,
    purpose::outputs,
    purpose::meaning,
    purpose::mistakes,
    purpose::order_only,
    purpose::siblings,
    purpose::names,
];

const CHANGES: &[Family] = &[matrix::after_changes, matrix::up_to_date];
const FLAGS: &[Family] = &[matrix::under_flags];
const FAILURES: &[Family] = &[matrix::with_failures, matrix::taken_up_again];

fn check_all(families: &[Family]) {
    check(&all(families));
}

fn all(families: &[Family]) -> Vec<Scenario> {
    families.iter().flat_map(|family| family()).collect()
}

/// Checks every third cell of matrices, in which each shape and each operation occurs.
fn check_a_third(families: &[Family]) {
    check(&all(families).into_iter().step_by(3).collect::<Vec<_>>());
}

/// Checks the cells that [`check_a_third`] leaves out.
fn check_two_thirds(families: &[Family]) {
    let numbered = all(families).into_iter().enumerate();
    let left = numbered.filter(|(at, _)| at % 3 != 0).map(|(_, scenario)| scenario);
    check(&left.collect::<Vec<_>>());
}

#[test]
fn there_are_enough_scenarios_and_each_has_a_name_of_its_own() {
    let scenarios = all(FAMILIES);
    let differs = |step: &Step| match step {
        Step::Run(invocation) => matches!(invocation.expected, Expected::Differs { .. }),
        _ => false,
    };
    let on_purpose = scenarios.iter().filter(|scenario| scenario.steps.iter().any(differs)).count();
    let count = scenarios.len();
    eprintln!("{count} scenarios; in {on_purpose} of them zipwright differs on purpose");
    assert!(count >= SCENARIOS_MIN, "{count}");
    let mut names = BTreeSet::new();
    let twice: Vec<&str> = scenarios
        .iter()
        .map(|scenario| scenario.name.as_str())
        .filter(|name| !names.insert(*name))
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn changes_are_seen_as_make_sees_them() {
    check_a_third(CHANGES);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn all_changes_are_seen_as_make_sees_them() {
    check_two_thirds(CHANGES);
}

#[test]
fn flags_mean_what_they_mean_to_make() {
    check_a_third(FLAGS);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn flags_mean_the_same_for_every_shape() {
    check_two_thirds(FLAGS);
}

#[test]
fn dry_runs_and_questions_give_the_same_answers() {
    check_all(&[matrix::asked_after_an_edit]);
}

#[test]
fn failures_stop_and_leave_the_same() {
    check_a_third(FAILURES);
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn failures_leave_the_same_of_every_shape() {
    check_two_thirds(FAILURES);
}

#[test]
fn commands_may_fail_in_every_way() {
    check_all(&[
        failures::ends_of_commands,
        failures::keep_going,
        failures::missing_inputs,
        failures::leftovers,
    ]);
}

#[test]
fn signals_end_both_alike() {
    check_all(&[failures::signals]);
}

#[test]
fn goals_are_found_and_ordered_alike() {
    check_all(&[goals::goals, goals::default_goals, goals::unknown]);
}

#[test]
fn command_lines_are_read_alike() {
    check_all(&[goals::command_lines, goals::folders, flags::manners, flags::silence]);
}

#[test]
fn variables_are_set_alike() {
    check_all(&[goals::variables]);
}

#[test]
fn flags_that_pretend_pretend_alike() {
    check_all(&[
        flags::always,
        flags::touch,
        flags::what_if,
        flags::old_file,
        flags::ignore_errors,
    ]);
}

#[test]
fn tools_call_each_other() {
    check_all(&[nested::calls, nested::reads_what_the_inner_one_left, nested::environment]);
}

#[test]
fn several_run_at_once_and_one_at_a_time_in_order() {
    check_all(&[
        parallel::at_once,
        parallel::one_at_a_time,
        parallel::with_failures,
        parallel::shuffled,
    ]);
}

#[test]
fn differences_on_purpose_are_still_there() {
    check_all(&[
        purpose::content,
        purpose::outputs,
        purpose::meaning,
        purpose::mistakes,
        purpose::order_only,
        purpose::siblings,
        purpose::names,
    ]);
}
