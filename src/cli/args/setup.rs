//! Options of the commands that set a project up.

use clap::Args;

#[derive(Args, Debug)]
pub(in crate::cli) struct Init {
    /// Print the Buildfile on standard output, and write nothing
    #[arg(long)]
    pub(in crate::cli) print: bool,

    /// The function's handler, such as lambda_handler.handler
    #[arg(long, value_name = "MODULE.FUNCTION")]
    pub(in crate::cli) handler: Option<String>,

    /// The function's name in Lambda
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) function: Option<String>,

    /// Lambda's name of the runtime, such as python3.13
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) runtime: Option<String>,

    /// arm64 or x86_64
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) arch: Option<String>,
}
