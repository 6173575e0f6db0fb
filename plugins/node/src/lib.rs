//! Node.js: the exports of the contract. What they do is in the modules.

pub mod alias;
pub mod detection;
pub mod environment;
pub mod npm;
pub mod probe;
pub mod verification;

#[cfg(target_family = "wasm")]
mod component {
    use attune_plugin::host::Host;
    use attune_plugin::tools::Executable;
    use attune_plugin::types::{DeclaredVersion, Failure};
    use attune_plugin::{detection, environment, verification};

    struct Node;

    attune_plugin::bindings::export!(Node with_types_in attune_plugin::bindings);

    impl detection::Guest for Node {
        fn detect(request: detection::Request) -> Result<Vec<detection::Candidate>, Failure> {
            Ok(crate::detection::detect(&Host::default(), request.binaries))
        }

        fn aliases(versions: Vec<DeclaredVersion>) -> Vec<detection::Alias> {
            crate::alias::aliases(&versions)
        }
    }

    impl verification::Guest for Node {
        fn verify(
            request: verification::Request,
            program: &Executable,
        ) -> Result<verification::Verdict, Failure> {
            crate::verification::verify(&Host::default(), request, &|invocation| program.run(invocation))
        }
    }

    impl environment::Guest for Node {
        fn plan(request: environment::PlanRequest) -> Result<environment::BuildPlan, Failure> {
            crate::environment::plan(&Host::default(), &request)
        }

        fn check(request: environment::CheckRequest) -> Result<(), Failure> {
            crate::environment::check(&Host::default(), &request)
        }

        fn launch(request: environment::LaunchRequest) -> Result<environment::Command, Failure> {
            Ok(crate::environment::launch(request))
        }
    }
}
