"""What a MicroPython VM and its host say to each other over two FIFOs.

Runs on both sides. Every request is answered at once, in order; numbers are little-endian.

    request  op u8, unit u8, payload length u16, value i32, payload
    reply    status i16 (a negative one is an errno), payload length u16, now u48 ms, payload
"""

REQUEST = "<BBHi"
REQUEST_BYTES = 8
REPLY = "<hHIH"
REPLY_BYTES = 10
PAYLOAD_MAX = 8192

UP = "bus.up"
DOWN = "bus.down"

BOOT = 1  # reply: JSON of what the chip is and why it started
NOW = 2
SLEEP = 3  # value: milliseconds; in stepped time the reply comes when they are over
UART_OPEN = 4  # unit: UART; value: baud
UART_WRITE = 5
UART_READ = 6  # value: most bytes wanted; reply: what has arrived
UART_ANY = 7  # reply status: bytes waiting
I2C_WRITE = 8  # value: address
I2C_READ = 9  # value: address + 256 * bytes
I2C_EXCHANGE = 10  # write the payload, repeated start, read; value as I2C_READ
I2C_SCAN = 11
I2S_OPEN = 12  # value: sampling rate; payload: bits u8, channels u8, buffer bytes u32
I2S_READ = 13  # value: most bytes wanted
PIN_WRITE = 14  # unit: pin, value: level
PIN_READ = 15
RESET = 16  # no reply: the host ends the process and starts it anew
DEEPSLEEP = 17  # value: milliseconds, -1 for ever; no reply
WATCHDOG_START = 18  # value: milliseconds
WATCHDOG_FEED = 19
RTC_MEMORY = 20  # payload: what the RTC keeps through deep sleep
WLAN_CONNECT = 21  # payload: SSID
WLAN_DISCONNECT = 22
WLAN_STATUS = 23  # reply status: the chip's status number
WLAN_RSSI = 24  # reply status: dBm
LINK_SEND = 25  # payload: a frame for the simulated network
LINK_RECEIVE = 26  # reply: a frame, empty when there is none
LINK_CONNECTED = 27  # reply status: 1 or 0
RESYNC = 28  # payload: 8 random bytes; reply: the same, after all that is stale
RANDOM = 29  # value: bits, at most 32; reply: u32, drawn from the node's seed
