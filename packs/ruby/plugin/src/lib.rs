//! Ruby: the exports of the contract. What they do is in the modules.

pub mod detection;
pub mod environment;
pub mod probe;
pub mod verification;

#[cfg(target_family = "wasm")]
mod component {
    use attune_plugin::host::Host;
    use attune_plugin::tools::Executable;
    use attune_plugin::types::{DeclaredVersion, Failure};
    use attune_plugin::{detection, environment, verification};

    struct Ruby;

    attune_plugin::bindings::export!(Ruby with_types_in attune_plugin::bindings);

    impl detection::Guest for Ruby {
        fn detect(_request: detection::Request) -> Result<Vec<detection::Candidate>, Failure> {
            Ok(crate::detection::detect(&Host::default()))
        }

        fn aliases(_versions: Vec<DeclaredVersion>) -> Vec<detection::Alias> {
            crate::detection::aliases()
        }
    }

    impl verification::Guest for Ruby {
        fn verify(
            request: verification::Request,
            program: &Executable,
        ) -> Result<verification::Verdict, Failure> {
            crate::verification::verify(&Host::default(), request, &|invocation| program.run(invocation))
        }
    }

    impl environment::Guest for Ruby {
        fn plan(request: environment::PlanRequest) -> Result<environment::BuildPlan, Failure> {
            crate::environment::plan(&request)
        }

        fn check(request: environment::CheckRequest) -> Result<(), Failure> {
            crate::environment::check(&Host::default(), &request)
        }

        fn launch(request: environment::LaunchRequest) -> Result<environment::Command, Failure> {
            Ok(crate::environment::launch(request))
        }
    }
}
