//! The README shows this whole example.

#[test]
fn the_readme_shows_this_example_in_at_most_forty_lines() {
    let source = include_str!("../src/lib.rs");
    assert!(include_str!("../../../README.md").contains(source.trim_end()), "copy src/lib.rs into the README");
    assert!(source.lines().count() <= 40);
}
