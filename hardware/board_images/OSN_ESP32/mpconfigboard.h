#define MICROPY_HW_BOARD_NAME "Open Cities node, code in place"
#define MICROPY_HW_MCU_NAME "ESP32"

// Code runs from partition romfs, without a copy in the heap.
#define MICROPY_VFS_ROM (1)
