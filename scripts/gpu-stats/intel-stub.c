/*
 * A stub of the kernel's driver for Intel's GPUs (i915), in this process only: Mesa's Vulkan driver finds one GPU, whose PCI id is in
 * GPU_COMPILE_INTEL, asks what it is, allocates memory, and compiles; nothing can run. Without that variable everything is as it is.
 * The functions below stand before libdrm's and libc's of the same name, since the program exports its symbols (-rdynamic). Numbers and
 * structs are those of the kernel's drm.h and i915_drm.h and of xf86drm.h, whose packages cannot be installed beside a newer libdrm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  uint16_t vendor, device, subvendor, subdevice;
  uint8_t revision;
} PciInfo;
typedef struct {
  uint16_t domain;
  uint8_t bus, dev, func;
} PciBus;
typedef struct {
  char **nodes; /* primary, control, render */
  int available, busType;
  PciBus *bus;
  PciInfo *info;
} Device; /* libdrm's drmDevice */
typedef struct {
  int major, minor, patch, nameLength;
  char *name;
  int dateLength;
  char *date;
  int textLength;
  char *text;
} Version; /* libdrm's drmVersion */

enum { render = 2, memoryBytesLog2 = 40, page = 1 << 16 };

static int memory = -1; /* a sparse file: all buffers, at the offsets that the driver maps */
static char node[64];

static uint16_t pciId(void) {
  const char *text = getenv("GPU_COMPILE_INTEL");
  return text ? strtoul(text, NULL, 16) : 0;
}

static Device *makeDevice(void) {
  if (memory < 0) {
    memory = memfd_create("intel-stub", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, 1ll << memoryBytesLog2) != 0) { perror("gpu-compile: memfd"); exit(1); }
    snprintf(node, sizeof node, "/proc/self/fd/%d", memory);
  }
  static char *nodes[] = {node, node, node};
  static PciBus bus = {0, 0, 2, 0};
  static PciInfo info = {.vendor = 0x8086};
  static Device device = {nodes, 1 << render, 0, &bus, &info};
  info.device = pciId();
  return &device;
}

int drmGetDevices2(uint32_t flags, Device **devices, int most) {
  (void)flags;
  if (!pciId()) return 0;
  if (devices && most > 0) devices[0] = makeDevice();
  return 1;
}

int drmGetDevice2(int fd, uint32_t flags, Device **device) {
  (void)fd, (void)flags;
  if (!pciId()) return -ENODEV;
  *device = makeDevice();
  return 0;
}

void drmFreeDevice(Device **device) { *device = NULL; }
void drmFreeDevices(Device **devices, int count) { memset(devices, 0, count * sizeof *devices); }

Version *drmGetVersion(int fd) {
  (void)fd;
  static char name[] = "i915", none[] = "";
  static Version version = {1, 6, 0, 4, name, 0, none, 0, none};
  return pciId() ? &version : NULL;
}

void drmFreeVersion(Version *version) { (void)version; }

typedef struct {
  uint64_t id;
  int32_t length;
  uint32_t flags;
  uint64_t data;
} QueryItem;

/* One slice of 20 subslices (Xe: 6) of 16 execution units each, engines and memory; how many there are changes no text. */
static void answerQuery(QueryItem *item) {
  uint8_t answer[512] = {0};
  size_t length = 0;
  if (item->id == 1 || item->id == 6) { /* topology, and that for geometry */
    const uint16_t subslices = pciId() >> 8 == 0x9a ? 6 : 20, units = 16, stride = (subslices + 7) / 8;
    const uint16_t head[8] = {0, 1, subslices, units, 1, stride, 1 + stride, 2};
    memcpy(answer, head, sizeof head);
    answer[16] = 1;
    for (int i = 0; i < subslices; i++) answer[17 + i / 8] |= 1 << i % 8;
    memset(answer + 17 + stride, 0xff, 2 * subslices);
    length = 17 + stride + 2 * subslices;
  } else if (item->id == 2) { /* one render engine and one that copies: 16 bytes, then 56 each, which start with class and instance */
    answer[0] = 2;
    answer[16 + 56] = 1;
    length = 16 + 2 * 56;
  } else if (item->id == 4) { /* memory of the system and the device's: 16 bytes, then 88 each: class, instance, bytes, bytes that are free */
    const uint64_t bytes = 4ull << 30;
    answer[0] = pciId() >> 8 == 0x9a ? 1 : 2;
    for (int i = 0; i < answer[0]; i++) {
      answer[16 + 88 * i] = i;
      memcpy(answer + 16 + 88 * i + 8, &bytes, 8);
      memcpy(answer + 16 + 88 * i + 16, &bytes, 8);
    }
    length = 16 + 88 * answer[0];
  } else {
    item->length = -EINVAL;
    return;
  }
  if (item->length != 0) memcpy((void *)(uintptr_t)item->data, answer, length);
  item->length = length;
}

static int answerParameter(int32_t parameter, int *value) {
  switch (parameter) {
    case 4: *value = pciId(); return 0;    /* CHIPSET_ID */
    case 18: *value = 3; return 0;         /* HAS_ALIASING_PPGTT: full */
    case 30: case 40: *value = 4; return 0; /* MMAP_VERSION, MMAP_GTT_VERSION */
    case 32: *value = 0; return 0;         /* REVISION */
    case 51: *value = 19200000; return 0;  /* CS_TIMESTAMP_FREQUENCY, Hz */
    case 58: return ENODEV;                /* PXP_STATUS: nothing protected */
    default: *value = 1; return 0;         /* it has what it is asked for */
  }
}

static int answer(unsigned number, void *argument) {
  static uint64_t used = page; /* bytes of `memory`; a buffer's handle is its offset in pages */
  uint32_t *words = argument;
  uint64_t *longs = argument;
  switch (number) {
    case 0x0c: longs[1] = 1; return 0; /* GET_CAP */
    case 0x2d: words[2] = fcntl(memory, F_DUPFD_CLOEXEC, 0); return 0; /* PRIME_HANDLE_TO_FD */
    case 0xbf: words[0] = 1; return 0; /* SYNCOBJ_CREATE */
    case 0x46: return answerParameter(words[0], ((int **)argument)[1]);
    case 0x5b: case 0x7c: /* GEM_CREATE, and with extensions */
      words[2] = used / page;
      used += (longs[0] + page - 1) / page * page;
      return used < 1ull << memoryBytesLog2 ? 0 : ENOMEM;
    case 0x64: longs[1] = (uint64_t)words[0] * page; return 0; /* GEM_MMAP_OFFSET */
    case 0x63: longs[0] = longs[1] = 1ull << 48; return 0; /* GEM_GET_APERTURE */
    case 0x6d: words[0] = 1; return 0; /* GEM_CONTEXT_CREATE */
    case 0x73: /* GEM_USERPTR */
      if (!longs[1]) return EINVAL;
      words[5] = 1;
      return 0;
    case 0x74: longs[2] = longs[1] == 3 ? 1ull << 48 : 0; return 0; /* GEM_CONTEXT_GETPARAM: GTT_SIZE */
    case 0x79: /* QUERY */
      for (uint32_t i = 0; i < words[0]; i++) answerQuery((QueryItem *)(uintptr_t)longs[1] + i);
      return 0;
    case 0x7a: words[3] = 1; return 0; /* GEM_VM_CREATE */
    default: return 0; /* done, whatever it was: nothing is ever run */
  }
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  const unsigned type = request >> 8 & 0xff;
  if (!pciId() || (type != 'd' && type != 'b')) return syscall(SYS_ioctl, fd, request, argument);
  if (type == 'b') { /* of a shared buffer: a file to wait for */
    if ((request & 0xff) == 2) ((int32_t *)argument)[1] = fcntl(memory, F_DUPFD_CLOEXEC, 0);
    return 0;
  }
  const int error = answer(request & 0xff, argument);
  if (error == 0) return 0;
  errno = error;
  return -1;
}
