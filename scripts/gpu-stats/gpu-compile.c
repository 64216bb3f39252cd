/*
 * Compiles SPIR-V compute shaders with an installed Vulkan driver and prints, as one line of JSON a shader, what the driver says of them
 * (VK_KHR_pipeline_executable_properties). It makes an instance, a device and pipelines, and runs nothing, so that Mesa's null devices
 * serve: RADV with RADV_FORCE_FAMILY needs no GPU, nor does ANV with the stub in intel-stub.c.
 *
 *   gpu-compile SUBGROUP FILE.spv ...      (32 or 64 lanes on RDNA; without files it only opens the device)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

/* newer than the headers of Debian 12 */
#ifndef VK_KHR_shader_maximal_reconvergence
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_MAXIMAL_RECONVERGENCE_FEATURES_KHR ((VkStructureType)1000434000)
typedef struct {
  VkStructureType sType;
  void *pNext;
  VkBool32 shaderMaximalReconvergence;
} VkPhysicalDeviceShaderMaximalReconvergenceFeaturesKHR;
#endif

#define CHECK(call)                                                      \
  do {                                                                   \
    VkResult result_ = (call);                                           \
    if (result_ < 0) {                                                   \
      fprintf(stderr, "gpu-compile: %s returned %d\n", #call, result_);  \
      exit(1);                                                           \
    }                                                                    \
  } while (0)

enum { mostIds = 1 << 20, mostBindings = 64 };

typedef struct {
  uint32_t set, binding;
  VkDescriptorType type;
} Binding;

typedef struct {
  char entry[256];
  uint32_t workgroup[3];
  Binding bindings[mostBindings];
  uint32_t count, sets;
} Reflection;

static void *grab(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (!memory) { fprintf(stderr, "gpu-compile: out of memory\n"); exit(1); }
  return memory;
}

static uint32_t *readWords(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file) { perror(path); exit(1); }
  fseek(file, 0, SEEK_END);
  *bytes = ftell(file);
  rewind(file);
  uint32_t *words = grab(*bytes / 4 + 1, 4);
  if (fread(words, 1, *bytes, file) != *bytes || *bytes < 20 || words[0] != 0x07230203) {
    fprintf(stderr, "gpu-compile: %s: expected SPIR-V\n", path);
    exit(1);
  }
  fclose(file);
  return words;
}

/* Entry point, workgroup size and buffer bindings: the pipeline layout must have the bindings that the shader uses. */
static Reflection reflect(const uint32_t *words, size_t bytes) {
  static const struct { uint32_t Source, EntryPoint, ExecutionMode, TypePointer, Constant, ConstantComposite, Variable, Decorate; } op = {
    3, 15, 16, 32, 43, 44, 59, 71};
  Reflection found = {.workgroup = {1, 1, 1}};
  uint32_t bound = words[3];
  if (bound > mostIds) { fprintf(stderr, "gpu-compile: %u ids are too many\n", bound); exit(1); }
  struct Id { uint32_t set, binding, hasBinding, bufferBlock, pointee, constant, parts[3]; } *ids = grab(bound, sizeof *ids);
  uint32_t sizeId[3] = {0}, builtinSize = 0;
  for (size_t at = 5; at < bytes / 4; at += words[at] >> 16) {
    const uint32_t *w = words + at, code = w[0] & 0xffff, length = w[0] >> 16;
    if (length == 0) break;
    if (code == op.EntryPoint) snprintf(found.entry, sizeof found.entry, "%s", (const char *)(w + 3));
    else if (code == op.ExecutionMode && w[2] == 17) memcpy(found.workgroup, w + 3, 12); /* LocalSize */
    else if (code == op.ExecutionMode && w[2] == 38) memcpy(sizeId, w + 3, 12);          /* LocalSizeId */
    else if (code == op.Decorate && w[2] == 34) ids[w[1]].set = w[3];
    else if (code == op.Decorate && w[2] == 33) { ids[w[1]].binding = w[3]; ids[w[1]].hasBinding = 1; }
    else if (code == op.Decorate && w[2] == 3) ids[w[1]].bufferBlock = 1;
    else if (code == op.Decorate && w[2] == 11 && w[3] == 25) builtinSize = w[1]; /* BuiltIn WorkgroupSize */
    else if (code == op.TypePointer) ids[w[1]].pointee = w[3];
    else if (code == op.Constant) ids[w[2]].constant = w[3];
    else if (code == op.ConstantComposite && length == 6) memcpy(ids[w[2]].parts, w + 3, 12);
    else if (code == op.Variable && ids[w[2]].hasBinding) {
      uint32_t storage = w[3] == 12 || ids[ids[w[1]].pointee].bufferBlock; /* StorageBuffer */
      if (!storage && w[3] != 2) { fprintf(stderr, "gpu-compile: only buffers can be bound\n"); exit(1); }
      if (found.count == mostBindings) { fprintf(stderr, "gpu-compile: too many bindings\n"); exit(1); }
      found.bindings[found.count++] = (Binding){ids[w[2]].set, ids[w[2]].binding,
        storage ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER};
      if (ids[w[2]].set >= found.sets) found.sets = ids[w[2]].set + 1;
    }
  }
  if (sizeId[0]) for (int i = 0; i < 3; i++) found.workgroup[i] = ids[sizeId[i]].constant;
  if (builtinSize) for (int i = 0; i < 3; i++) found.workgroup[i] = ids[ids[builtinSize].parts[i]].constant;
  free(ids);
  return found;
}

static void printString(const char *text) {
  putchar('"');
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') printf("\\%c", *text);
    else if ((unsigned char)*text < 32) printf("\\u%04x", *text);
    else putchar(*text);
  }
  putchar('"');
}

static void printStatistics(VkDevice device, const VkPipelineExecutableInfoKHR *executable) {
  PFN_vkGetPipelineExecutableStatisticsKHR get = (void *)vkGetDeviceProcAddr(device, "vkGetPipelineExecutableStatisticsKHR");
  uint32_t count = 0;
  CHECK(get(device, executable, &count, NULL));
  VkPipelineExecutableStatisticKHR *all = grab(count + 1, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
  CHECK(get(device, executable, &count, all));
  printf("{");
  for (uint32_t i = 0, printed = 0; i < count; i++) {
    if (strcmp(all[i].name, "Driver pipeline hash") == 0) continue; /* 64 bits, which JSON readers round */
    if (printed++) printf(",");
    printString(all[i].name);
    switch (all[i].format) {
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: printf(":%s", all[i].value.b32 ? "true" : "false"); break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: printf(":%lld", (long long)all[i].value.i64); break;
      case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: printf(":%llu", (unsigned long long)all[i].value.u64); break;
      default: printf(":%g", all[i].value.f64);
    }
  }
  printf("}");
  free(all);
}

static void compile(VkDevice device, const VkPhysicalDeviceProperties *adapter, const char *path, uint32_t subgroup) {
  const char *slash = strrchr(path, '/');
  char name[512];
  snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
  char *dot = strrchr(name, '.');
  if (dot) *dot = 0;
  fprintf(stderr, "== shader %s\n", name); /* what the driver prints of it (ACO_DEBUG=perfinfo) follows */
  size_t bytes;
  uint32_t *words = readWords(path, &bytes);
  Reflection shader = reflect(words, bytes);
  VkDescriptorSetLayout layouts[16];
  if (shader.sets > 16) { fprintf(stderr, "gpu-compile: too many sets\n"); exit(1); }
  for (uint32_t set = 0; set < shader.sets; set++) {
    VkDescriptorSetLayoutBinding entries[mostBindings];
    uint32_t count = 0;
    for (uint32_t i = 0; i < shader.count; i++)
      if (shader.bindings[i].set == set)
        entries[count++] = (VkDescriptorSetLayoutBinding){.binding = shader.bindings[i].binding,
          .descriptorType = shader.bindings[i].type, .descriptorCount = 1, .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    CHECK(vkCreateDescriptorSetLayout(device, &(VkDescriptorSetLayoutCreateInfo){
      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = count, .pBindings = entries}, NULL, &layouts[set]));
  }
  VkPipelineLayout layout;
  CHECK(vkCreatePipelineLayout(device, &(VkPipelineLayoutCreateInfo){.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
    .setLayoutCount = shader.sets, .pSetLayouts = layouts}, NULL, &layout));
  VkShaderModule module;
  CHECK(vkCreateShaderModule(device, &(VkShaderModuleCreateInfo){.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
    .codeSize = bytes, .pCode = words}, NULL, &module));
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
    .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO, .requiredSubgroupSize = subgroup};
  VkPipeline pipeline;
  CHECK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &(VkComputePipelineCreateInfo){
    .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
    .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR,
    .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, .pNext = subgroup ? &required : NULL,
      .flags = subgroup ? 0 : VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT, /* as Dawn does */
      .stage = VK_SHADER_STAGE_COMPUTE_BIT, .module = module, .pName = shader.entry},
    .layout = layout}, NULL, &pipeline));

  PFN_vkGetPipelineExecutablePropertiesKHR get = (void *)vkGetDeviceProcAddr(device, "vkGetPipelineExecutablePropertiesKHR");
  VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
  uint32_t count = 0;
  CHECK(get(device, &info, &count, NULL));
  VkPipelineExecutablePropertiesKHR *all = grab(count + 1, sizeof *all);
  for (uint32_t i = 0; i < count; i++) all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
  CHECK(get(device, &info, &count, all));
  for (uint32_t i = 0; i < count; i++) {
    VkPipelineExecutableInfoKHR executable = {
      .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline, .executableIndex = i};
    printf("{\"shader\":");
    printString(name);
    printf(",\"device\":");
    printString(adapter->deviceName);
    printf(",\"executable\":");
    printString(all[i].name);
    printf(",\"subgroupSize\":%u,\"workgroup\":[%u,%u,%u],\"statistics\":", all[i].subgroupSize, shader.workgroup[0], shader.workgroup[1],
      shader.workgroup[2]);
    printStatistics(device, &executable);
    printf("}\n");
    fflush(stdout);
  }
  free(all);
  free(words);
  vkDestroyPipeline(device, pipeline, NULL);
  vkDestroyShaderModule(device, module, NULL);
  vkDestroyPipelineLayout(device, layout, NULL);
  for (uint32_t set = 0; set < shader.sets; set++) vkDestroyDescriptorSetLayout(device, layouts[set], NULL);
}

int main(int argc, char **argv) {
  if (argc < 2) { fprintf(stderr, "gpu-compile: expected SUBGROUP FILE.spv ...\n"); return 1; }
  uint32_t subgroup = atoi(argv[1]);

  VkInstance instance;
  CHECK(vkCreateInstance(&(VkInstanceCreateInfo){.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
    .pApplicationInfo = &(VkApplicationInfo){.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "gpu-compile",
      .apiVersion = VK_API_VERSION_1_3}}, NULL, &instance));
  VkPhysicalDevice devices[16];
  uint32_t count = 16;
  CHECK(vkEnumeratePhysicalDevices(instance, &count, devices));
  if (count == 0) { fprintf(stderr, "gpu-compile: no device; set VK_DRIVER_FILES, and RADV_FORCE_FAMILY for RADV\n"); return 1; }
  VkPhysicalDevice physical = devices[0];
  VkPhysicalDeviceProperties adapter;
  vkGetPhysicalDeviceProperties(physical, &adapter);

  uint32_t extensionCount = 0;
  CHECK(vkEnumerateDeviceExtensionProperties(physical, NULL, &extensionCount, NULL));
  VkExtensionProperties *extensions = grab(extensionCount + 1, sizeof *extensions);
  CHECK(vkEnumerateDeviceExtensionProperties(physical, NULL, &extensionCount, extensions));
  static const char *const wanted[] = {"VK_KHR_pipeline_executable_properties", "VK_EXT_robustness2", "VK_KHR_shader_maximal_reconvergence"};
  int has[3] = {0};
  const char *names[3];
  uint32_t enabled = 0;
  for (int n = 0; n < 3; n++)
    for (uint32_t i = 0; i < extensionCount; i++)
      if (strcmp(wanted[n], extensions[i].extensionName) == 0) { has[n] = 1; names[enabled++] = wanted[n]; }
  if (!has[0]) { fprintf(stderr, "gpu-compile: %s lacks %s\n", adapter.deviceName, wanted[0]); return 1; }

  /* all features that the device has: what a shader needs is there, and robust buffer access as Dawn asks for it */
  VkPhysicalDeviceShaderMaximalReconvergenceFeaturesKHR reconvergence = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_MAXIMAL_RECONVERGENCE_FEATURES_KHR};
  VkPhysicalDeviceRobustness2FeaturesEXT robustness = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT,
    .pNext = has[2] ? &reconvergence : NULL};
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executable = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
    .pNext = has[1] ? (void *)&robustness : has[2] ? (void *)&reconvergence : NULL};
  VkPhysicalDeviceVulkan13Features v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .pNext = &executable};
  VkPhysicalDeviceVulkan12Features v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &v13};
  VkPhysicalDeviceVulkan11Features v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &v12};
  VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &v11};
  vkGetPhysicalDeviceFeatures2(physical, &features);
  float priority = 1;
  VkDevice device;
  CHECK(vkCreateDevice(physical, &(VkDeviceCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .pNext = &features,
    .queueCreateInfoCount = 1, .pQueueCreateInfos = &(VkDeviceQueueCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
      .queueCount = 1, .pQueuePriorities = &priority},
    .enabledExtensionCount = enabled, .ppEnabledExtensionNames = names}, NULL, &device));
  for (int i = 2; i < argc; i++) compile(device, &adapter, argv[i], subgroup);
  fflush(stdout);
  _Exit(0); /* a null device need not be able to shut down */
}
