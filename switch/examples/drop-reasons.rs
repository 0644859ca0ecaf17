//! Prints docs/drop-reasons.md from the one table of drop reasons:
//!
//! ```sh
//! cargo run -p vswitch-switch --example drop-reasons > docs/drop-reasons.md
//! ```

fn main() {
    print!("{}", vswitch_switch::drop_reason::document());
}
