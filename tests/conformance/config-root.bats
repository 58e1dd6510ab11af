# SPDX-License-Identifier: Apache-2.0
# config.md: "Specification version", "Root", "Hostname", "Domainname", "Annotations", "Extensibility", "Valid values".

load lib/helpers

# ---- Specification version ----

@test "config.md ociVersion: MUST be accepted: 1.0.0, as all 1.x are compatible" {
	report '.ociVersion = "1.0.0"'
}

@test "config.md ociVersion: MUST be accepted: 1.1.0" {
	report '.ociVersion = "1.1.0"'
}

@test "config.md ociVersion: MUST be accepted: 1.2.0, the version that this suite is of" {
	report '.ociVersion = "1.2.0"'
}

@test "config.md ociVersion: MUST be accepted in SemVer 2.0.0 format with a pre-release and build part" {
	report '.ociVersion = "1.0.2-dev+build.7"'
}

@test "config.md ociVersion: MUST be given, REQUIRED" {
	refuses 'del(.ociVersion)'
}

@test "config.md ociVersion: MUST be in SemVer v2.0.0 format" {
	refuses '.ociVersion = "one"'
}

@test "config.md ociVersion: MUST be of a major version that the runtime supports" {
	refuses '.ociVersion = "9.0.0"'
}

# ---- Root ----

@test "config.md root: MUST be given, REQUIRED on POSIX" {
	refuses 'del(.root)'
}

@test "config.md root.path: MUST be taken relative to the bundle" {
	runs '.root.path = "rootfs" | sh("cat /data/file")'
	prints from-the-image
}

@test "config.md root.path: MUST be taken as it is when absolute" {
	mkdir "$T/elsewhere"
	mv "$B/rootfs" "$T/elsewhere/tree"
	runs '.root.path = $T + "/elsewhere/tree" | sh("cat /data/file")'
	prints from-the-image
}

@test "config.md root.path: MUST name a directory that exists" {
	refuses '.root.path = "nothing-here"'
}

@test "config.md root.path: MUST name a directory, not a file" {
	echo text >"$B/file"
	refuses '.root.path = "file"'
}

@test "config.md root.path: MUST be given, REQUIRED" {
	refuses 'del(.root.path)'
}

@test "config.md root.readonly: MUST make the root file system read-only inside the container" {
	report '.root.readonly = true'
	has_option / ro
	runs '.root.readonly = true | sh("echo x > /data/new; echo $?")'
	prints 1
}

@test "config.md root.readonly: MUST default to false" {
	runs 'sh("echo x > /data/new && cat /data/new")'
	prints x
}

# ---- Hostname, Domainname ----

@test "config.md hostname: MUST be the hostname as seen by processes in the container" {
	report '.hostname = "mrsdalloway"'
	is hostname mrsdalloway
}

@test "config.md hostname: MUST NOT change the hostname of the runtime namespace" {
	local before
	before=$(uname -n)
	report '.hostname = "mrsdalloway"'
	[ "$(uname -n)" = "$before" ]
}

@test "config.md domainname: MUST be the domainname as seen by processes in the container" {
	report '.domainname = "foobarbaz.test"'
	is domainname foobarbaz.test
}

# ---- Annotations ----

@test "config.md annotations: MUST be part of the container's state" {
	created '.annotations = {"com.example.gpu-cores": "2"}'
	[ "$(state '.annotations["com.example.gpu-cores"]')" = 2 ]
}

@test "config.md annotations: MAY have empty values" {
	created '.annotations = {"com.example.empty": ""}'
	[ "$(state '.annotations["com.example.empty"]')" = "" ]
	[ "$(state '.annotations | has("com.example.empty")')" = true ]
}

@test "config.md annotations: MAY be an empty map" {
	report '.annotations = {}'
}

@test "config.md annotations: MUST be a key-value map" {
	refuses '.annotations = ["com.example.key"]'
}

@test "config.md annotations: MUST NOT have an empty string as a key" {
	refuses '.annotations = {"": "value"}'
}

@test "config.md annotations: MUST have strings as values" {
	refuses '.annotations = {"com.example.number": 2}'
}

@test "config.md annotations: MUST be accepted when their keys are unknown" {
	report '.annotations = {"org.example.unknown": "x", "org.opencontainers.unknown": "y"}'
}

# ---- Extensibility ----

@test "config.md extensibility: MUST ignore unknown properties of the configuration" {
	report '.unheardOf = {"a": [1, 2]}'
}

@test "config.md extensibility: MUST ignore unknown properties of process and user" {
	report '.process.unheardOf = true | .process.user.unheardOf = 7'
}

@test "config.md extensibility: MUST ignore unknown properties of linux and its resources" {
	report '.linux.unheardOf = "x" | .linux.resources.unheardOf = {"limit": 1}'
}

@test "config.md extensibility: MUST ignore unknown properties of mounts, namespaces and hooks" {
	report '.mounts[0].unheardOf = 1 | .linux.namespaces[0].unheardOf = 1 | .hooks.unheardOf = []'
}

# ---- Valid values: "Runtimes MUST generate an error when invalid or unsupported values are encountered." ----

@test "config.md values: MUST generate an error when the configuration is not JSON" {
	configure .
	printf '{ "ociVersion": "1.2.0", ' >"$B/config.json"
	create
	[ "$STATUS" -ne 0 ]
}

@test "config.md values: MUST generate an error when there is no config.json" {
	rm -f "$B/config.json"
	create
	[ "$STATUS" -ne 0 ]
}

@test "config.md values: MUST generate an error when a string is a number" {
	refuses '.hostname = 7'
}

@test "config.md values: MUST generate an error when an array is an object" {
	refuses '.mounts = {}'
}

@test "config.md values: MUST generate an error when a boolean is a string" {
	refuses '.root.readonly = "yes"'
}

@test "config.md values: MUST generate an error when a user ID is negative" {
	refuses_to_run '.process.user.uid = -1'
}

@test "config.md values: MUST generate an error when a user ID does not fit 32 bits" {
	refuses_to_run '.process.user.uid = 4294967296'
}
