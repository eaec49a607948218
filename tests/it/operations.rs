//! The worked examples of docs/OPERATIONS.md, against an emulator of RDS, EC2 and load balancers.

use std::process::Stdio;

use crate::emulators::{Emulator, REGION};
use crate::sandbox::{Run, Sandbox};
use crate::wait::end_of;

/// Creates the instance `orders` twice, each with a snapshot: the one of the first instance stays.
const INSTANCES: &str = r#"
import boto3, time
rds = boto3.client("rds")
def create():
    rds.create_db_instance(
        DBInstanceIdentifier="orders", DBInstanceClass="db.t3.micro", Engine="postgres",
        MasterUsername="u", MasterUserPassword="passw0rd", AllocatedStorage=20)
    # The emulator takes the first snapshot at once, AWS a while later.
    found = rds.describe_db_snapshots(DBInstanceIdentifier="orders", SnapshotType="automated")
    for snapshot in found["DBSnapshots"]:
        rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot["DBSnapshotIdentifier"])
create()
rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="of-earlier-instance")
time.sleep(1)
rds.delete_db_instance(DBInstanceIdentifier="orders", SkipFinalSnapshot=True)
create()
time.sleep(3)
rds.create_db_snapshot(DBInstanceIdentifier="orders", DBSnapshotIdentifier="own")
time.sleep(3)
"#;

/// Prints a time: so many seconds after the instance was created, or after its own snapshot.
const INSTANT: &str = r#"
import boto3, datetime, sys
rds = boto3.client("rds")
start = rds.describe_db_instances(DBInstanceIdentifier="orders")["DBInstances"][0]["InstanceCreateTime"]
if sys.argv[1] == "snapshot":
    start = rds.describe_db_snapshots(DBSnapshotIdentifier="own")["DBSnapshots"][0]["SnapshotCreateTime"]
print((start + datetime.timedelta(seconds=float(sys.argv[2]))).isoformat())
"#;

const BALANCER: &str = r#"
import boto3
ec2, elb = boto3.client("ec2"), boto3.client("elb")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
elb.create_load_balancer(
    LoadBalancerName="web", Subnets=[subnet], SecurityGroups=[group],
    Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}])
# AWS makes such an interface, and removes it minutes after the balancer.
made = ec2.create_network_interface(SubnetId=subnet, Groups=[group], Description="ELB web")
print(subnet, group, made["NetworkInterface"]["NetworkInterfaceId"])
"#;

/// Returns a project with the files of an example, and with the clients of AWS.
fn example(name: &str, aws: &Emulator) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.fixture(&format!("operations/{name}"));
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", format!("{}:{path}", Emulator::clients().display()));
    sandbox.set("AWS_ENDPOINT_URL", aws.endpoint());
    sandbox.set("AWS_REGION", REGION);
    sandbox.set("AWS_DEFAULT_REGION", REGION);
    sandbox
}

fn run_python(sandbox: &Sandbox, script: &str, args: &[&str]) -> String {
    let mut command = sandbox.program(Emulator::clients().join("python3"));
    Run::of(command.args(["-c", script]).args(args)).success().stdout.trim().to_owned()
}

fn instances(sandbox: &Sandbox) -> String {
    let script = "import boto3
found = boto3.client('rds').describe_db_instances()['DBInstances']
print(*sorted(instance['DBInstanceIdentifier'] for instance in found))";
    run_python(sandbox, script, &[])
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_restore_is_refused_before_anything_is_renamed() {
    let aws = Emulator::moto();
    let sandbox = example("restore", &aws);
    run_python(&sandbox, INSTANCES, &[]);
    let restore = |when: &str| Run::of(sandbox.zipwright().arg(format!("when={when}")));
    let instant = |from: &str, seconds: &str| run_python(&sandbox, INSTANT, &[from, seconds]);
    for (when, why) in [
        (instant("instance", "7200"), "too recent: orders can be restored up to "),
        (instant("instance", "-0.5"), "orders was created later, at "),
        // Only the snapshot of the earlier instance is that old.
        (instant("instance", "1"), "the first snapshot of this orders is of "),
        ("2026-01-01".into(), "has no time zone"),
    ] {
        restore(&when)
            .failure()
            .stderr_has("error: renamed: orders cannot be restored")
            .stderr_has(why);
        assert_eq!(instances(&sandbox), "orders", "{why}");
        assert!(!sandbox.exists("build"));
    }
    let when = instant("snapshot", "1");
    restore(&when).success().stderr_has("2 ran (renamed, restored)");
    assert_eq!(instances(&sandbox), "orders orders-old");
    restore(&when).success().stderr_has("up to date");
    // Another restore would need the name of the old instance.
    let again = restore(&instant("instance", "-0.5")).failure();
    again.stderr_has("orders-old is in the way: delete it, or rename it");
    assert_eq!(instances(&sandbox), "orders orders-old");
}

#[test]
#[cfg_attr(not(feature = "online"), ignore = "online tier")]
fn a_subnet_goes_when_the_interfaces_of_its_balancer_have_gone() {
    let aws = Emulator::moto();
    let sandbox = example("balancer", &aws);
    let made = run_python(&sandbox, BALANCER, &[]);
    let ids: Vec<&str> = made.split(' ').collect();
    let left = |kind: &str, id: &str| {
        let script = format!(
            "import boto3, sys
found = boto3.client('ec2').describe_{kind}s()['{}']
print(sys.argv[1] in str(found))",
            if kind == "subnet" { "Subnets" } else { "SecurityGroups" }
        );
        run_python(&sandbox, &script, &[id]) == "True"
    };
    let mut command = sandbox.zipwright();
    command.args([format!("subnet={}", ids[0]), format!("group={}", ids[1])]).arg("--json");
    let output = std::fs::File::create(sandbox.beside("events")).unwrap();
    let mut child = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
    let events = || std::fs::read_to_string(sandbox.beside("events")).unwrap();
    crate::wait::until("the wait", || events().contains("\"event\":\"waiting\"").then_some(()));
    assert!(left("subnet", ids[0]) && left("security_group", ids[1]));
    assert!(child.try_wait().unwrap().is_none(), "{}", events());
    let remove = "import boto3, sys
boto3.client('ec2').delete_network_interface(NetworkInterfaceId=sys.argv[1])";
    run_python(&sandbox, remove, &[ids[2]]);
    assert!(end_of(&mut child).success(), "{}", events());
    assert!(!left("subnet", ids[0]) && !left("security_group", ids[1]));
}
