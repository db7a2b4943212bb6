package deploy

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// manifests are the objects of one overlay.
type manifests struct {
	deployment *appsv1.Deployment
	settings   *corev1.ConfigMap
	policy     *networkingv1.NetworkPolicy
	budget     *policyv1.PodDisruptionBudget
	claim      *corev1.PersistentVolumeClaim
	services   []*corev1.Service
	ingress    *networkingv1.Ingress
}

// build renders an overlay as `kubectl apply -k` does and decodes it. Unknown and repeated fields
// are errors.
func build(t *testing.T, overlay string) (m manifests) {
	t.Helper()
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(folder, "kubernetes", overlay))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	for _, r := range rendered.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%s %s: %v", r.GetKind(), r.GetName(), err)
		}
		switch o := object.(type) {
		case *appsv1.Deployment:
			m.deployment = o
		case *corev1.ConfigMap:
			m.settings = o
		case *networkingv1.NetworkPolicy:
			m.policy = o
		case *policyv1.PodDisruptionBudget:
			m.budget = o
		case *corev1.PersistentVolumeClaim:
			m.claim = o
		case *corev1.Service:
			m.services = append(m.services, o)
		case *networkingv1.Ingress:
			m.ingress = o
		case *corev1.Namespace:
			if o.Name != "cobrowse" {
				t.Errorf("namespace %s", o.Name)
			}
			continue
		default:
			t.Errorf("%s has a %s, which no test checks", overlay, r.GetKind())
		}
		if r.GetNamespace() != "cobrowse" {
			t.Errorf("%s %s is in the namespace %q", r.GetKind(), r.GetName(), r.GetNamespace())
		}
	}
	if m.deployment == nil || m.settings == nil || m.policy == nil || m.ingress == nil || len(m.services) != 2 {
		t.Fatalf("%s lacks an object: %+v", overlay, m)
	}
	return m
}

func TestKubernetesManifests(t *testing.T) {
	for _, overlay := range []string{"sqlite", "postgres"} {
		t.Run(overlay, func(t *testing.T) {
			m := build(t, overlay)
			pod := m.deployment.Spec.Template
			podLabels := labels.Set(pod.Labels)
			selects := func(what string, s map[string]string) {
				if len(s) == 0 || !labels.SelectorFromSet(s).Matches(podLabels) {
					t.Errorf("%s selects %v, and the pods have %v", what, s, podLabels)
				}
			}
			selects("the deployment", m.deployment.Spec.Selector.MatchLabels)
			selects("the network policy", m.policy.Spec.PodSelector.MatchLabels)
			for _, s := range m.services {
				selects("the service "+s.Name, s.Spec.Selector)
			}
			if got := m.ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name; got != "bridge" {
				t.Errorf("the ingress leads to %s", got)
			}

			checkPod(t, pod.Spec)
			bridge := pod.Spec.Containers[0]
			ports := map[string]int32{}
			for _, p := range bridge.Ports {
				ports[p.Name] = p.ContainerPort
			}
			if !maps.Equal(ports, map[string]int32{"http": 8080, "metrics": 9090}) {
				t.Errorf("ports %v", ports)
			}
			for path, probe := range map[string]*corev1.Probe{"/healthz": bridge.LivenessProbe, "/readyz": bridge.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || ports[probe.HTTPGet.Port.StrVal] != 8080 {
					t.Errorf("probe of %s: %v", path, probe)
				}
			}
			if bridge.StartupProbe == nil {
				t.Error("there is no startup probe")
			}
			delay, err := time.ParseDuration(m.settings.Data["BRIDGE_STOP_DELAY"])
			needs := delay + 10*time.Second // to stop
			if wait := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second; err != nil || wait < needs {
				t.Errorf("a pod is killed after %v, and needs up to %v: %v", wait, needs, err)
			}
			if notices := time.Duration(bridge.ReadinessProbe.PeriodSeconds*bridge.ReadinessProbe.FailureThreshold) * time.Second; delay < notices {
				t.Errorf("a pod stops after %v, and its stop is noticed after up to %v", delay, notices)
			}

			// The settings are valid in both containers, with the secrets and volumes that they mount.
			paths := []string{"/run/secrets/bridge", writeSecrets(t), "/data", t.TempDir()}
			for _, c := range []corev1.Container{pod.Spec.InitContainers[0], bridge} {
				if len(c.EnvFrom) != 1 || c.EnvFrom[0].ConfigMapRef == nil || c.EnvFrom[0].ConfigMapRef.Name != m.settings.Name {
					t.Errorf("%s has its settings from %v, want %s", c.Name, c.EnvFrom, m.settings.Name)
				}
				for name, path := range m.settings.Data {
					path = strings.TrimPrefix(path, "sqlite:")
					mounted := func(v corev1.VolumeMount) bool { return strings.HasPrefix(path, v.MountPath+"/") }
					if strings.HasPrefix(path, "/") && !slices.ContainsFunc(c.VolumeMounts, mounted) {
						t.Errorf("%s of %s is %s, where nothing is mounted", name, c.Name, path)
					}
				}
			}
			if args := pod.Spec.InitContainers[0].Args; !slices.Equal(args, []string{"check", "--start"}) {
				t.Errorf("the init container runs %v", args)
			}
			checkBridge(t, within(m.settings.Data, paths...), 0, "check", "--offline")
			for name, secret := range secrets {
				for setting, value := range m.settings.Data {
					if strings.Contains(value, secret) {
						t.Errorf("the ConfigMap has %s in %s", name, setting)
					}
				}
			}
		})
	}
}

// checkPod checks what the Pod Security Standard "restricted" asks for, and more
// (kubernetes.io/docs/concepts/security/pod-security-standards).
func checkPod(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	s := pod.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || *s.RunAsUser != 65532 || *s.FSGroup != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("security context of the pod: %v", s)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod has a token for the cluster")
	}
	if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
		t.Fatalf("%d init containers and %d containers", len(pod.InitContainers), len(pod.Containers))
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		s := c.SecurityContext
		if s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("security context of %s: %v", c.Name, s)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s has the resources %v", c.Name, c.Resources)
		}
		if c.Image != "registry.example.org/cobrowse-bridge:latest" {
			t.Errorf("%s runs %s", c.Name, c.Image)
		}
	}
	for _, v := range pod.Volumes {
		if v.Secret == nil && v.PersistentVolumeClaim == nil {
			t.Errorf("volume %s is neither a secret nor a claim", v.Name)
		}
	}
}

func TestTheSQLiteManifestsRunOneReplica(t *testing.T) {
	m := build(t, "sqlite")
	if d := m.deployment.Spec; *d.Replicas != 1 || d.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("%d replicas, updated by %s", *d.Replicas, d.Strategy.Type)
	}
	if m.claim == nil || m.budget != nil {
		t.Errorf("claim %v, disruption budget %v, which would keep a node from being drained", m.claim, m.budget)
	}
	env := within(m.settings.Data, "/run/secrets/bridge", writeSecrets(t), "/data", t.TempDir())
	out := checkBridge(t, env, 0, "check", "--start")
	if !strings.Contains(out, "There is no database yet") {
		t.Errorf("the init container says %s", out)
	}
}

func TestThePostgreSQLManifestsRunTwoReplicas(t *testing.T) {
	m := build(t, "postgres")
	d := m.deployment.Spec
	if *d.Replicas != 2 || d.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType || d.Strategy.RollingUpdate.MaxUnavailable.IntVal != 0 {
		t.Errorf("%d replicas, updated by %v", *d.Replicas, d.Strategy)
	}
	podLabels := labels.Set(d.Template.Labels)
	matches := func(what string, s *metav1.LabelSelector) {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(podLabels) {
			t.Errorf("%s selects %v (%v)", what, s, err)
		}
	}
	if m.budget == nil || m.budget.Spec.MinAvailable.IntVal != 1 {
		t.Fatalf("disruption budget %v", m.budget)
	}
	matches("the disruption budget", m.budget.Spec.Selector)
	if len(d.Template.Spec.TopologySpreadConstraints) != 2 {
		t.Error("the replicas are not spread")
	}
	for _, c := range d.Template.Spec.TopologySpreadConstraints {
		matches("the spread over "+c.TopologyKey, c.LabelSelector)
	}
	if m.claim != nil || len(d.Template.Spec.Volumes) != 1 {
		t.Error("the pods have volumes besides their secrets")
	}
	reachable := slices.ContainsFunc(m.policy.Spec.Egress, func(r networkingv1.NetworkPolicyEgressRule) bool { return r.Ports[0].Port.IntVal == 5432 })
	if !reachable {
		t.Error("the network policy does not let the bridge reach PostgreSQL")
	}
	env := within(m.settings.Data, "/run/secrets/bridge", writeSecrets(t))
	out := checkBridge(t, env, 1, "check", "--start")
	if !strings.Contains(out, "problem  The database cannot be opened") {
		t.Errorf("without PostgreSQL the init container says %s", out)
	}
}
